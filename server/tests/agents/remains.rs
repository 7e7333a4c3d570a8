//! What runtimes have on disk of what outlives an agent, as docs/internals/agent.md has it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

/// A container that was started once.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) pod: String,
    pub(crate) pid: i64,
    pub(crate) started: Timestamp,
    /// `None`: it runs.
    pub(crate) ended: Option<Timestamp>,
}

/// Of all pods below an agent's root.
pub(crate) fn containers(root: &Path) -> Vec<Remains> {
    let directories = pods(root).into_iter().flat_map(|pod| entries(&pod));
    directories.filter_map(|directory| read(&directory)).collect()
}

fn read(directory: &Path) -> Option<Remains> {
    let started = document(&directory.join("started.json"))?;
    let at = |document: &Value| document["at"].as_str()?.parse::<Timestamp>().ok();
    Some(Remains {
        pod: document(&directory.join("container.json"))?["spec"]["pod"]["name"].as_str()?.into(),
        pid: started["init"]["pid"].as_i64()?,
        started: at(&started)?,
        ended: document(&directory.join("exit.json")).and_then(|ended| at(&ended)),
    })
}

/// Kills whatever runs there, as the end of the machine would.
pub(crate) fn end_all(root: &Path) {
    for pod in pods(root) {
        let files = entries(&pod).into_iter().map(|directory| directory.join("started.json"));
        for file in files.chain([pod.join("sandbox.json")]) {
            let value = document(&file).unwrap_or_default();
            // The shim last: what it holds would be nobody's.
            for process in [&value["init"], &value["pause"], &value["shim"]] {
                kill(process);
            }
        }
    }
    kill(&guard(root));
}

fn kill(process: &Value) {
    if let Some(pid) = process["pid"].as_i64() {
        let _ =
            Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
    }
}

/// The process that guards what runs in a Docker engine.
pub(crate) fn guard(root: &Path) -> Value {
    document(&root.join("docker").join("guard.json")).unwrap_or_default()
}

/// Until when what others would start may run in a Docker engine, since the machine booted.
pub(crate) fn docker_fence(root: &Path) -> Option<Duration> {
    let bytes = std::fs::read(root.join("docker").join("fence")).ok()?;
    Some(Duration::from_millis(u64::from_le_bytes(bytes.try_into().ok()?)))
}

/// On the same clock.
pub(crate) fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::from_secs(now.tv_sec.unsigned_abs())
        + Duration::from_nanos(now.tv_nsec.unsigned_abs())
}

fn pods(root: &Path) -> Vec<PathBuf> {
    entries(&root.join("runc").join("pods"))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|one| one.path()).collect()
}

fn document(file: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}
