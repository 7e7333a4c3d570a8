//! What the containers of a pod share: namespaces that a pause process holds, and an address.

use std::io::{PipeWriter, Write};
use std::path::PathBuf;

use rustix::process::Signal;
use tokio::process::Command;

use super::files::{Root, SandboxRecord};
use super::network::{self, Network};
use crate::agent::runtime::process::Process;
use crate::agent::runtime::{Error, Result, SandboxSpec, error_while, helper};
use crate::agent::{clock, files};

/// Namespaces of host name, message queues and network.
const NAMESPACES: [&str; 3] = ["--net", "--ipc", "--uts"];

/// Makes it, with what is left of one that has ended removed.
pub(super) async fn start(
    root: &Root,
    network: Option<&Network>,
    program: &[String],
    spec: &SandboxSpec,
) -> Result<()> {
    let uid = &spec.pod.uid;
    if let Some(before) = read(root, uid) {
        if is_ready(&before) {
            return Ok(());
        }
        // The agent may have been killed before it had an address.
        if let Some(pause) = before.pause {
            pause.signal(Signal::KILL);
        }
    }
    std::fs::create_dir_all(root.pod(uid)).map_err(error_while("making the pod's directory"))?;
    let mut record = SandboxRecord {
        spec: spec.clone(),
        created_at: clock::now(),
        pause: None,
        address: None,
        is_stopped: false,
    };
    if !spec.host_network {
        let network = network.ok_or_else(|| Error::failed("the node has no pod network yet"))?;
        let (pause, mut waiting) = start_pause(program, &spec.hostname).await?;
        record.pause = Some(pause.clone());
        // Known before it has an address, so that it can be ended by whoever finds it.
        write(root, &record)?;
        waiting.write_all(b"\n").map_err(error_while("keeping the pause process"))?;
        let address = network.claim(root, uid)?;
        if let Err(error) = network.join(uid, pause.pid, address).await {
            pause.signal(Signal::KILL);
            network::leave(root, uid, Some(address)).await;
            return Err(error);
        }
        record.address = Some(address);
    }
    write(root, &record)
}

/// Ends it. Containers in it lose their network.
pub(super) async fn stop(root: &Root, uid: &str) -> Result<()> {
    let Some(mut record) = read(root, uid) else { return Ok(()) };
    if let Some(pause) = &record.pause {
        pause.signal(Signal::KILL);
    }
    network::leave(root, uid, record.address).await;
    record.is_stopped = true;
    write(root, &record)
}

pub(super) fn read(root: &Root, uid: &str) -> Option<SandboxRecord> {
    files::read_json(&root.sandbox(uid))
}

fn write(root: &Root, record: &SandboxRecord) -> Result<()> {
    let path = root.sandbox(&record.spec.pod.uid);
    files::write_json(&path, record).map_err(error_while(path.display()))
}

pub(super) fn is_ready(record: &SandboxRecord) -> bool {
    let holds = match &record.pause {
        Some(pause) => pause.is_alive() && record.address.is_some(),
        None => record.spec.host_network,
    };
    !record.is_stopped && holds
}

/// It waits to be told that it is kept, and ends if nobody tells it: one that was not written down,
/// because the agent was killed, would be nobody's.
async fn start_pause(program: &[String], hostname: &str) -> Result<(Process, PipeWriter)> {
    let (heard, waiting) = std::io::pipe().map_err(error_while("starting the pause process"))?;
    let mut command = Command::new("unshare");
    command.args(NAMESPACES).arg("--").args(program).args(["pause", hostname]);
    let pause = helper::started(command, heard.into(), "the pause process").await?;
    Ok((pause, waiting))
}

/// Where what the containers leave behind is.
pub(super) fn directories(root: &Root, uid: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.pod(uid)).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("container.json").exists()).collect()
}
