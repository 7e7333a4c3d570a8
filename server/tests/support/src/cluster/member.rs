//! One member of a cluster: a process with its place and its data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use api::etcdserverpb::{StatusRequest, StatusResponse};
use tempfile::TempDir;

use super::Place;
use crate::client::{Clients, connect, serves};
use crate::process::Process;
use crate::program::Program;
use crate::wait::eventually;

/// The longest start that is waited for: an election on a busy machine.
const START_S_MAX: u64 = 60;
/// No member that is alive takes longer to say how it is.
const STATUS_S_MAX: u64 = 2;
/// The longest wait for a process that has to end by itself.
const END_S_MAX: u64 = 60;

/// How a member is told to begin.
#[derive(Clone, Debug)]
pub struct Birth {
    /// `--initial-cluster`.
    pub initial_cluster: String,
    /// `--initial-cluster-state`: `new` or `existing`.
    pub state: &'static str,
    /// `--initial-cluster-token`.
    pub token: String,
}

/// A member that runs, or the place and the data of one that does not.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    pub place: Place,
    /// Flags of every start from now on, after those that place and birth need.
    pub flags: Vec<String>,
    /// Environment of every start from now on.
    pub env: BTreeMap<String, String>,
    /// Takes effect when the member has no data yet.
    pub birth: Birth,
    program: Program,
    // Before the directory: the process must be gone when its data is removed.
    process: Process,
    directory: TempDir,
}

impl Member {
    /// Nothing runs before [`Self::launch`].
    pub fn new(program: Program, name: &str, place: Place, birth: Birth, flags: &[String]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        Self {
            name: name.to_owned(),
            place,
            flags: flags.to_vec(),
            env: BTreeMap::new(),
            birth,
            program,
            process: Process::new(directory.path().join("log")),
            directory,
        }
    }

    /// Starts the process and does not wait for anything.
    pub fn launch(&mut self) {
        let command = self.command();
        self.process.start(command).expect("the server program starts");
    }

    /// Waits until it answers linearizable reads: it is part of a cluster that has a leader.
    ///
    /// # Panics
    /// When it ends, or does not serve within a minute; the message has the end of its log.
    pub async fn wait_serving(&mut self) {
        let endpoint = self.endpoint();
        eventually(&format!("{} serves", self.name), START_S_MAX, async || {
            if serves(&endpoint).await {
                return Ok(());
            }
            assert!(self.is_running(), "{} ended:\n{}", self.name, self.process.log_tail());
            Err(self.process.log_tail())
        })
        .await;
    }

    /// Starts it on its old place and data, and waits until it serves.
    pub async fn restart(&mut self) {
        self.launch();
        self.wait_serving().await;
    }

    /// SIGKILL; data and place stay.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and the status it ends with.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.terminate()
    }

    /// Waits for a member that has to end by itself.
    ///
    /// # Panics
    /// When it does not.
    pub async fn wait_end(&mut self) -> ExitStatus {
        let what = format!("{} ends by itself", self.name);
        let status = eventually(&what, END_S_MAX, async || {
            self.process.ended().ok_or_else(|| self.process.log_tail())
        })
        .await;
        self.process.kill();
        status
    }

    /// SIGSTOP: the process keeps its connections and answers nothing.
    pub fn suspend(&self) {
        self.process.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process.signal("CONT");
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Takes all of its data away, as a broken disk does.
    pub fn lose_disk(&mut self) {
        assert!(!self.is_running(), "kill the member before taking its disk");
        std::fs::remove_dir_all(self.data_dir()).expect("the data can be removed");
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The base URL of its client port.
    pub fn endpoint(&self) -> String {
        self.place.client_url()
    }

    /// Fresh clients over a connection of their own.
    pub fn clients(&self) -> Clients {
        connect(&self.endpoint())
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// When it does not answer within two seconds, or refuses.
    pub async fn status(&self) -> Result<StatusResponse, String> {
        let mut clients = self.clients();
        let call = clients.maintenance.status(StatusRequest {});
        match tokio::time::timeout(Duration::from_secs(STATUS_S_MAX), call).await {
            Ok(Ok(status)) => Ok(status.into_inner()),
            Ok(Err(refusal)) => Err(format!("{}: {refusal}", self.name)),
            Err(_) => Err(format!("{} says nothing of its status", self.name)),
        }
    }

    /// What it has logged since it was started last.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The last lines of its log, for failure messages.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// The end of its log, if it is gone or one of its tasks has crashed.
    pub(crate) fn crash(&mut self) -> Option<String> {
        self.process.crash()
    }

    fn command(&self) -> Command {
        let mut command = match &self.place.namespace {
            Some(namespace) => namespace.command(&self.program.path),
            None => Command::new(&self.program.path),
        };
        let Place { client, peer, .. } = &self.place;
        command
            .args(self.program.leading_arguments())
            .arg(format!("--name={}", self.name))
            .arg(format!("--data-dir={}", self.data_dir().display()))
            .arg(format!("--listen-client-urls=http://{client}"))
            .arg(format!("--advertise-client-urls=http://{client}"))
            .arg(format!("--listen-peer-urls=http://{peer}"))
            .arg(format!("--initial-advertise-peer-urls={}", self.place.advertised_peer_url()))
            .arg(format!("--initial-cluster={}", self.birth.initial_cluster))
            .arg(format!("--initial-cluster-state={}", self.birth.state))
            .arg(format!("--initial-cluster-token={}", self.birth.token))
            .args(&self.flags)
            .envs(&self.env)
            .current_dir(self.directory.path());
        command
    }
}
