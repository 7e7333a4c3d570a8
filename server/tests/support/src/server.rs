//! A server process on loopback, in a directory of its own.

use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{Clients, connect, serves};
use crate::ports;
use crate::process::Process;
use crate::program::Program;

/// The longest start that is waited for: recovery of a large log on a busy machine.
const START_S_MAX: u64 = 60;

/// A running (or killed) server. Dropping it kills the process and removes its data.
#[derive(Debug)]
pub struct Server {
    pub program: Program,
    pub client_port: u16,
    pub peer_port: u16,
    flags: Vec<String>,
    // Before the directory: the process must be gone when its data is removed.
    process: Process,
    directory: TempDir,
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
        let directory = TempDir::new().expect("a temporary directory");
        Self {
            program,
            client_port: ports::free(),
            peer_port: ports::free(),
            flags: flags.iter().map(ToString::to_string).collect(),
            process: Process::new(directory.path().join("log")),
            directory,
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
        self.process.pid()
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// SIGKILL, and waits for the process to be gone. Its data and ports stay.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and the status it ends with.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.terminate()
    }

    /// Starts it again on the same ports and data, and waits until it serves.
    pub async fn restart(&mut self) {
        if let Err(failure) = self.launch().await {
            panic!("{failure}");
        }
    }

    /// The file that every life of the server logs to.
    pub fn log_file(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }

    /// What the log says of a crash, if the server is gone or one of its tasks has crashed.
    pub fn crash(&mut self) -> Option<String> {
        self.process.crash()
    }

    /// The last lines of the server's log, for failure messages.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    async fn launch(&mut self) -> Result<(), String> {
        let command = self.command();
        self.process.start(command)?;
        let deadline = Instant::now() + Duration::from_secs(START_S_MAX);
        while !serves(&self.endpoint()).await {
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
            .current_dir(self.directory.path());
        command
    }
}
