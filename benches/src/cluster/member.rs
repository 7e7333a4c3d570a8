//! One process of a cluster.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::etcdserverpb::maintenance_client::MaintenanceClient;
use api::etcdserverpb::{StatusRequest, StatusResponse};
use tonic::transport::{Channel, Endpoint};

use crate::server::free_port;

/// A member that does not answer for so long is taken for absent in this look at it.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A member, or the place of one that does not run now.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) peer_url: String,
    pub(crate) client_url: String,
    data_dir: PathBuf,
    log: PathBuf,
    /// `--initial-cluster` and `--initial-cluster-state`, the same at every start.
    initial: [String; 2],
    process: Option<Child>,
    channel: Channel,
}

impl Member {
    /// Nothing runs yet. Data and log lie below `directory`.
    pub(super) fn new(number: usize, directory: &Path) -> Result<Self, Box<dyn Error>> {
        let name = format!("m{number}");
        let url = || Ok::<_, std::io::Error>(format!("http://127.0.0.1:{}", free_port()?));
        let client_url = url()?;
        Ok(Self {
            peer_url: url()?,
            data_dir: directory.join(&name),
            log: directory.join(format!("{name}.log")),
            initial: Default::default(),
            process: None,
            channel: Endpoint::from_shared(client_url.clone())?.connect_lazy(),
            client_url,
            name,
        })
    }

    /// Says which cluster it begins (`new`) or joins (`existing`).
    pub(super) fn form(&mut self, initial_cluster: String, state: &str) {
        self.initial = [initial_cluster, state.to_owned()];
    }

    /// Adds this member's flags to `command` and starts it.
    pub(super) fn start(&mut self, mut command: Command) -> Result<(), Box<dyn Error>> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let [initial_cluster, state] = &self.initial;
        command
            .args(["--name", &self.name])
            .args(["--listen-peer-urls", &self.peer_url])
            .args(["--initial-advertise-peer-urls", &self.peer_url])
            .args(["--listen-client-urls", &self.client_url])
            .args(["--advertise-client-urls", &self.client_url])
            .args(["--initial-cluster", initial_cluster, "--initial-cluster-state", state])
            .arg("--data-dir")
            .arg(&self.data_dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let program = command.get_program().display().to_string();
        let process =
            command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
        self.process = Some(process);
        Ok(())
    }

    /// SIGKILL; returns when the process is gone.
    pub(super) fn kill(&mut self) -> std::io::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Sends a signal by its name (`STOP`, `CONT`).
    pub(crate) fn signal(&self, name: &str) -> Result<(), Box<dyn Error>> {
        let pid = self.pid().ok_or("a member that does not run gets no signals")?.to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status()?;
        if sent.success() { Ok(()) } else { Err(format!("kill -s {name} {pid}: {sent}").into()) }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// A connection that all who use it share.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// What it says of itself, if it answers.
    pub(super) async fn status(&self) -> Option<StatusResponse> {
        let mut client = MaintenanceClient::new(self.channel());
        let answer = tokio::time::timeout(ANSWER_MAX, client.status(StatusRequest {})).await;
        Some(answer.ok()?.ok()?.into_inner())
    }

    /// The end of its log, for an error.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let last = String::from_utf8_lossy(&log).lines().last().unwrap_or_default().to_owned();
        format!("{}: {last}", self.name)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself; one that is stopped ends too.
        let _ = self.kill();
    }
}
