//! Three processes of one kind on loopback. They end with the measurement, however that ends.

use std::error::Error;
use std::process::{Child, Stdio};
use std::time::Duration;

use api::etcdserverpb::StatusRequest;
use api::etcdserverpb::maintenance_client::MaintenanceClient;
use tonic::transport::{Channel, Endpoint};

use crate::server::{Subject, free_port};

/// How long a cluster may take to form, or a member to catch up.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Cluster {
    subject: Subject,
    members: Vec<Member>,
    directory: tempfile::TempDir,
}

struct Member {
    client: u16,
    peer: u16,
    process: Option<Child>,
    channel: Channel,
}

impl Cluster {
    /// Starts three members and waits until one leads.
    pub(crate) async fn start(subject: &Subject) -> Result<Self, Box<dyn Error>> {
        let members = (0..3).map(|_| Member::new()).collect::<Result<_, _>>()?;
        let directory = tempfile::tempdir()?;
        let mut cluster = Self { subject: subject.clone(), members, directory };
        for place in 0..3 {
            cluster.launch(place)?;
        }
        cluster.leader().await?;
        Ok(cluster)
    }

    /// Starts the member at `place`, anew or again.
    pub(crate) fn launch(&mut self, place: usize) -> Result<(), Box<dyn Error>> {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let all: Vec<String> =
            (0..3).map(|place| format!("m{place}={}", url(self.members[place].peer))).collect();
        let member = &mut self.members[place];
        let data_dir = self.directory.path().join(format!("m{place}"));
        let mut command = self.subject.command();
        command
            .args(["--name", &format!("m{place}"), "--initial-cluster", &all.join(",")])
            .args(["--listen-peer-urls", &url(member.peer)])
            .args(["--initial-advertise-peer-urls", &url(member.peer)])
            .args(["--listen-client-urls", &url(member.client)])
            .args(["--advertise-client-urls", &url(member.client)])
            .arg("--data-dir")
            .arg(data_dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        member.process = Some(command.spawn()?);
        Ok(())
    }

    /// Kills the member at `place` with SIGKILL.
    pub(crate) fn kill(&mut self, place: usize) -> Result<(), Box<dyn Error>> {
        if let Some(mut process) = self.members[place].process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    pub(crate) fn channel(&self, place: usize) -> Channel {
        self.members[place].channel.clone()
    }

    /// Who leads, as it says itself: its place and all ids by place.
    pub(crate) async fn leader(&self) -> Result<(usize, Vec<u64>), Box<dyn Error>> {
        let look = async {
            loop {
                let mut ids = Vec::new();
                let mut leader = None;
                for (place, member) in self.members.iter().enumerate() {
                    let mut client = MaintenanceClient::new(member.channel.clone());
                    let asked = client.status(StatusRequest {});
                    let Ok(Ok(status)) = tokio::time::timeout(PATIENCE / 60, asked).await else {
                        ids.push(0);
                        continue;
                    };
                    let status = status.into_inner();
                    let id = status.header.map_or(0, |header| header.member_id);
                    ids.push(id);
                    if status.leader == id {
                        leader = Some(place);
                    }
                }
                if let Some(place) = leader {
                    return (place, ids);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        Ok(tokio::time::timeout(PATIENCE, look).await?)
    }

    /// Waits until all members have applied the same.
    pub(crate) async fn level(&self) -> Result<(), Box<dyn Error>> {
        let look = async {
            loop {
                let mut applied = Vec::new();
                for member in &self.members {
                    let mut client = MaintenanceClient::new(member.channel.clone());
                    let asked = client.status(StatusRequest {});
                    if let Ok(Ok(status)) = tokio::time::timeout(PATIENCE / 60, asked).await {
                        applied.push(status.into_inner().raft_applied_index);
                    }
                }
                let lowest = applied.iter().min().copied().unwrap_or(0);
                let highest = applied.iter().max().copied().unwrap_or(0);
                if applied.len() == self.members.len() && highest - lowest < 50 {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        Ok(tokio::time::timeout(PATIENCE, look).await?)
    }
}

impl Member {
    fn new() -> Result<Self, Box<dyn Error>> {
        let (client, peer) = (free_port()?, free_port()?);
        let channel = Endpoint::from_shared(format!("http://127.0.0.1:{client}"))?.connect_lazy();
        Ok(Self { client, peer, process: None, channel })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
