//! Commands of discovery as processes, and a look at the keys.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use api::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};
use api::mvccpb::KeyValue;
use tempfile::TempDir;
use testkit::{Clients, Finished, Script, Server, bounded};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{Response, Status};

/// The longest wait for something that takes a moment, on a machine that is busy.
pub(crate) const SOON_S: u64 = 60;

/// A process that runs until it is told not to; killed when dropped, with its whole process group:
/// workers outlive a master that is killed.
pub(crate) struct Tool {
    child: Option<Child>,
    directory: TempDir,
}

impl Tool {
    /// Starts `berth ARGS`, with its output in a log.
    pub(crate) fn berth(args: &[&str]) -> Self {
        Self::start(Path::new(env!("CARGO_BIN_EXE_berth")), args)
    }

    pub(crate) fn start(program: &Path, args: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let log = File::create(directory.path().join("log")).expect("the log opens");
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log is shared"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        Self { child: Some(child), directory }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// All that it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for it to end by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let deadline = Instant::now() + Duration::from_secs(SOON_S);
        loop {
            if let Some(status) = child.try_wait().expect("our own child") {
                return status;
            }
            if Instant::now() > deadline {
                signal_group(child.id(), "KILL");
                panic!("it does not end:\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGTERM, and the status it ends with.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal_group(child.id(), "KILL");
            // The group is enough; a wait that never ends would be worse than doing it twice.
            let _ = child.kill();
            child.wait().expect("our own child can be waited for");
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal by its name to a process.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(sent.expect("sh runs").success(), "cannot send SIG{name} to {pid}");
}

/// The same to all processes of a group. Those that are gone already are no failure.
fn signal_group(leader: u32, name: &str) {
    let line = format!("kill -{name} -{leader} 2>/dev/null; true");
    let _ = Command::new("sh").args(["-c", &line]).status();
}

/// How many files a process has open.
pub(crate) fn files_of(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

/// Runs `berth ARGS` to its end.
pub(crate) async fn berth(args: &[&str]) -> Finished {
    Script::new(Path::new(env!("CARGO_BIN_EXE_berth")), args).run().await
}

/// `--endpoints=` of a server.
pub(crate) fn endpoints(server: &Server) -> String {
    format!("--endpoints={}", server.endpoint())
}

/// The answer to a call that must succeed.
pub(crate) async fn done<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> T {
    bounded(call).await.expect("the server accepts the call").into_inner()
}

pub(crate) async fn put(clients: &Clients, key: &str, value: &str) -> i64 {
    let request = PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    };
    done(clients.clone().kv.put(request)).await.header.expect("a header").revision
}

pub(crate) async fn delete(clients: &Clients, key: &str) {
    let request =
        DeleteRangeRequest { key: key.to_owned().into(), ..DeleteRangeRequest::default() };
    done(clients.clone().kv.delete_range(request)).await;
}

/// One key, if it is there.
pub(crate) async fn get(clients: &Clients, key: &str) -> Option<KeyValue> {
    let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    done(clients.clone().kv.range(request)).await.kvs.pop()
}

/// The JSON document at a key, or why there is none.
pub(crate) async fn document(clients: &Clients, key: &str) -> Result<serde_json::Value, String> {
    let kv = get(clients, key).await.ok_or_else(|| format!("{key} is not there"))?;
    serde_json::from_slice(&kv.value).map_err(|error| format!("{key}: {error}"))
}

/// A page of a server on loopback; empty if there is none.
pub(crate) async fn page(port: u16, path: &str) -> String {
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        std::io::Result::Ok(text)
    };
    ask.await.unwrap_or_default()
}
