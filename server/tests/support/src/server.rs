//! A server process on loopback, in a directory of its own.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use api::etcdserverpb::RangeRequest;
use tempfile::TempDir;
use tonic::Code;

use crate::client::{Clients, connect};
use crate::ports;
use crate::program::Program;

/// The longest start that is waited for: recovery of a large log on a busy machine.
const START_S_MAX: u64 = 60;

/// How much of a log a failure message shows.
const LOG_LINES: usize = 20;

/// A running (or killed) server. Dropping it kills the process and removes its data.
#[derive(Debug)]
pub struct Server {
    pub program: Program,
    pub client_port: u16,
    pub peer_port: u16,
    flags: Vec<String>,
    directory: TempDir,
    child: Option<Child>,
}

impl Server {
    /// Starts `program` on free ports with etcd's flags `flags`, and waits until it serves.
    ///
    /// # Panics
    /// When it does not serve within a minute; the message ends with the end of its log.
    pub async fn start(program: Program, flags: &[&str]) -> Self {
        for last_try in [false, false, true] {
            let mut server = Self::create(program.clone(), flags);
            match server.launch().await {
                Ok(()) => return server,
                // Another process may take a port between our look and the server's bind.
                Err(failure)
                    if failure.to_lowercase().contains("address already in use") && !last_try => {}
                Err(failure) => panic!("{failure}"),
            }
        }
        unreachable!("the last try returns or panics")
    }

    /// The same, not started yet: [`Self::restart`] does it once its directory is prepared.
    pub fn create(program: Program, flags: &[&str]) -> Self {
        Self {
            program,
            client_port: ports::free(),
            peer_port: ports::free(),
            flags: flags.iter().map(ToString::to_string).collect(),
            directory: TempDir::new().expect("a temporary directory"),
            child: None,
        }
    }

    /// Flags of every start from now on; each wins over an earlier one of its name.
    pub fn add_flags(&mut self, flags: &[String]) {
        self.flags.extend_from_slice(flags);
    }

    /// `http://127.0.0.1:PORT` of the client port.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// Fresh clients over a connection of their own.
    pub fn clients(&self) -> Clients {
        connect(&self.endpoint())
    }

    /// Where the server keeps its data.
    pub fn data_dir(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// SIGKILL, and waits for the process to be gone. Its data and ports stay.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// SIGTERM, and the status it ends with.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        let signal = format!("kill -TERM {}", child.id());
        Command::new("sh").args(["-c", &signal]).status().expect("sh runs");
        child.wait().expect("our own child can be waited for")
    }

    /// Starts it again on the same ports and data, and waits until it serves.
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "kill or terminate the server before a restart");
        if let Err(failure) = self.launch().await {
            panic!("{failure}");
        }
    }

    /// What the log says of a crash, if the server is gone or one of its tasks has crashed.
    pub fn crash(&mut self) -> Option<String> {
        let log = self.log_tail();
        (log.contains("panic") || !self.is_running()).then_some(log)
    }

    /// The last lines of the server's log, for failure messages.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read(self.log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        // A crash ends with a long trace; what the program died of stands before it.
        let deaths = lines.iter().filter(|line| line.contains("panic"));
        deaths.chain(tail).map(|line| format!("{line}\n")).collect()
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }

    async fn launch(&mut self) -> Result<(), String> {
        self.child =
            Some(self.command().spawn().map_err(|error| {
                format!("{} does not start: {error}", self.program.path.display())
            })?);
        let deadline = Instant::now() + Duration::from_secs(START_S_MAX);
        while !self.serves().await {
            let gone = !self.is_running();
            if gone || Instant::now() > deadline {
                self.kill();
                let why = if gone { "ended" } else { "does not serve" };
                return Err(format!("{} {why}:\n{}", self.program.path.display(), self.log_tail()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let client = format!("http://127.0.0.1:{}", self.client_port);
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.expect("the log file opens");
        let mut command = Command::new(&self.program.path);
        command
            .args(self.program.leading_arguments())
            .arg("--name=default")
            .arg(format!("--data-dir={}", self.data_dir().display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=default={peer}"))
            .args(&self.flags)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file can be shared"))
            .stderr(log);
        command
    }

    /// Whether it answers a linearizable read, be it with a refusal of its own.
    async fn serves(&self) -> bool {
        let probe = RangeRequest { key: "ready".into(), ..Default::default() };
        let mut kv = self.clients().kv;
        let answer = tokio::time::timeout(Duration::from_secs(5), kv.range(probe)).await;
        match answer {
            Ok(Ok(_)) => true,
            Ok(Err(refusal)) => !matches!(
                refusal.code(),
                Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled
            ),
            Err(_) => false,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
