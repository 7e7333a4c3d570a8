//! Running a client program once, with a bounded wait.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Hardly any client command in these tests needs longer on the slowest machine.
const COMMAND_S_MAX: u64 = 60;

/// The path of a program, or a failure that says which Debian package brings it.
///
/// # Panics
/// When the program is not on PATH: a test that needs it must fail, not pass unseen.
pub fn require(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!("`{program}` is not installed: run `apt-get install {package}`, or ./test")
        })
}

/// What a command left behind.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// One command line: the program, its arguments, what it reads, and what ends it.
#[derive(Debug)]
pub struct Script {
    command: Command,
    stdin: Vec<u8>,
    until: Option<String>,
    limit_s: u64,
}

impl Script {
    pub fn new<S: AsRef<std::ffi::OsStr>>(program: &Path, arguments: &[S]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, stdin: Vec::new(), until: None, limit_s: COMMAND_S_MAX }
    }

    /// Sets an environment variable of the command.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Bytes for its standard input, which is closed afterwards unless [`Self::until`] is set.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// For a command that never ends by itself (a watch): kill it once its output contains
    /// `text`.
    #[must_use]
    pub fn until(mut self, text: &str) -> Self {
        self.until = Some(text.to_owned());
        self
    }

    /// How long it may run, in place of a minute: for a whole session of a client.
    #[must_use]
    pub fn limit_s(mut self, limit_s: u64) -> Self {
        self.limit_s = limit_s;
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot start, or is still running after a minute ([`Self::limit_s`]).
    pub async fn run(self) -> Finished {
        let description = format!("{:?}", self.command.as_std());
        let limit_s = self.limit_s;
        timeout(Duration::from_secs(limit_s), self.finish())
            .await
            .unwrap_or_else(|_| panic!("still running after {limit_s} s: {description}"))
    }

    async fn finish(mut self) -> Finished {
        let mut child = self.command.spawn().expect("the program starts");
        let mut input = child.stdin.take().expect("stdin is piped");
        // A program that fails early closes its input; that is its right.
        let _ = input.write_all(&self.stdin).await;
        let Some(text) = self.until else {
            drop(input);
            return collect(child).await;
        };
        let stdout = read_until(&mut child, &text).await;
        child.start_kill().expect("a child can be killed");
        let rest = collect(child).await;
        Finished { stdout, ..rest }
    }
}

async fn collect(child: Child) -> Finished {
    let output = child.wait_with_output().await.expect("a child can be waited for");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

async fn read_until(child: &mut Child, text: &str) -> String {
    let mut output = child.stdout.take().expect("stdout is piped");
    let mut bytes = Vec::new();
    while output.read_buf(&mut bytes).await.expect("a pipe can be read") > 0 {
        let output = String::from_utf8_lossy(&bytes);
        if let Some(at) = output.find(text) {
            // What follows may or may not have come yet.
            return output[..at + text.len()].to_owned();
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
