//! Starting the binary, waiting for it, ending it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// No step of a sound server takes a fraction of this, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const BERTH: &str = env!("CARGO_BIN_EXE_berth");

/// A command without anything of ours in its environment.
pub(crate) fn berth(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("ETCD") {
            command.env_remove(key);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end; for what must not stay running.
pub(crate) fn run(command: &mut Command) -> Output {
    let mut child = command.spawn().unwrap();
    let status = wait(&mut child);
    let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
    child.stdout.unwrap().read_to_end(&mut output.stdout).unwrap();
    child.stderr.unwrap().read_to_end(&mut output.stderr).unwrap();
    output
}

/// Waits for the end; kills what does not end.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("process {} did not end", child.id());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Exit code and all that went to stderr.
pub(crate) fn failure(command: &mut Command) -> (i32, String) {
    let output = run(command);
    (output.status.code().unwrap(), text(&output.stderr))
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Where one server lives and listens.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) client: u16,
    pub(crate) peer: u16,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), client: free_port(), peer: free_port() }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// `berth serve` here, with the flags that etcd's own harness always gives.
    pub(crate) fn command(&self) -> Command {
        let (client, peer) = (self.url(self.client), self.url(self.peer));
        let mut command = berth(BERTH);
        command
            .current_dir(self.dir.path())
            .args(["serve", "--name", "m1", "--initial-cluster-state=new"])
            .args(["--initial-cluster-token", "token", "--snapshot-count=10000"])
            .arg(format!("--data-dir={}", self.data_dir().display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=m1={peer}"));
        command
    }

    pub(crate) fn url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }
}

/// A running server; killed when the test ends.
pub(crate) struct Running {
    pub(crate) child: Child,
    log: Receiver<String>,
    /// What it logged before it said that it serves.
    pub(crate) before_ready: Vec<String>,
}

impl Running {
    /// Starts it and waits until it says that it serves.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (sender, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut running = Self { child, log, before_ready: Vec::new() };
        running.before_ready = running.wait_for_line("ready to serve client requests");
        running
    }

    /// The lines before it.
    fn wait_for_line(&mut self, part: &str) -> Vec<String> {
        let mut seen = Vec::new();
        while let Ok(line) = self.log.recv_timeout(PATIENCE) {
            if line.contains(part) {
                return seen;
            }
            seen.push(line);
        }
        panic!("no line with {part:?} in:\n{}", seen.join("\n"));
    }

    pub(crate) fn signal(&mut self, name: &str) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
        wait(&mut self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status code and body of a GET.
pub(crate) fn get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
