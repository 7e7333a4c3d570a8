//! What the engine tells of a pod.

use std::net::IpAddr;

use bollard::container::LogOutput;
use bollard::errors::Error as EngineError;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary};
use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;

use super::create::{self, ATTEMPT, CONTAINER, IMAGE, STREAK};
use super::{NOT_FOUND, is, message};
use crate::agent::clock;
use crate::agent::runtime::{Container, Error, Exit, LogLine, Result, Sandbox, State};

/// That of a container which never ran, as shells count.
const NOT_STARTED: i32 = 128;

pub(super) async fn sandbox(
    engine: &bollard::Docker,
    network: &str,
    list: Vec<ContainerSummary>,
) -> Result<Option<Sandbox>> {
    let Some(pod) = list.iter().find_map(create::pod_of) else { return Ok(None) };
    let mut sandbox = Sandbox {
        pod,
        is_ready: false,
        address: None,
        created_at: Timestamp::UNIX_EPOCH,
        containers: Vec::new(),
    };
    for summary in list {
        let id = summary.id.clone().unwrap_or_default();
        let found = match engine.inspect_container(&id, None).await {
            Ok(found) => found,
            // It was removed just now.
            Err(error) if is(&error, NOT_FOUND) => continue,
            Err(error) => return Err(failed(error)),
        };
        if create::is_pause(&summary) {
            pause(&mut sandbox, network, &found);
        } else {
            sandbox.containers.extend(container(&summary, &found).filter(|_| was_started(&found)));
        }
    }
    sandbox.containers.sort_by(|a, b| (&a.name, a.attempt).cmp(&(&b.name, b.attempt)));
    Ok(Some(sandbox))
}

fn failed(error: EngineError) -> Error {
    Error::failed(format!("the Docker engine: {}", message(error)))
}

fn pause(sandbox: &mut Sandbox, network: &str, found: &ContainerInspectResponse) {
    let networks = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let own = networks.and_then(|networks| networks.get(network)?.ip_address.clone());
    sandbox.address = own.and_then(|address| address.parse::<IpAddr>().ok());
    let mode = found.host_config.as_ref().and_then(|config| config.network_mode.as_deref());
    let runs = found.state.as_ref().and_then(|state| state.running).unwrap_or(false);
    sandbox.is_ready = runs && (mode == Some("host") || sandbox.address.is_some());
    sandbox.created_at = time(found.created.as_ref().map(ToString::to_string).as_deref());
}

/// The process that holds the pod's network; `None`: it has ended, or that is the node's.
pub(super) fn own_network(found: &ContainerInspectResponse) -> Option<i32> {
    let mode = found.host_config.as_ref().and_then(|config| config.network_mode.as_deref());
    let pid = found.state.as_ref().filter(|_| mode != Some("host"))?.pid?;
    i32::try_from(pid).ok().filter(|pid| *pid > 0)
}

fn container(summary: &ContainerSummary, found: &ContainerInspectResponse) -> Option<Container> {
    let labels = summary.labels.as_ref()?;
    let number = |key: &str| labels.get(key).and_then(|text| text.parse().ok()).unwrap_or(0);
    Some(Container {
        id: found.id.clone()?,
        name: labels.get(CONTAINER)?.clone(),
        attempt: number(ATTEMPT),
        streak: number(STREAK),
        image: labels.get(IMAGE)?.clone(),
        image_id: found.image.clone().unwrap_or_default(),
        state: state(found),
    })
}

/// Whether it was tried to start it: one that was only created has not ended.
fn was_started(found: &ContainerInspectResponse) -> bool {
    let Some(state) = &found.state else { return false };
    let is_new = state.status == Some(ContainerStateStatusEnum::CREATED);
    !is_new || state.error.as_ref().is_some_and(|error| !error.is_empty())
}

fn state(found: &ContainerInspectResponse) -> State {
    let state = found.state.clone().unwrap_or_default();
    let created_at = time(found.created.as_ref().map(ToString::to_string).as_deref());
    let started_at = time(state.started_at.as_deref());
    if state.running == Some(true) {
        return State::Running { started_at };
    }
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(NOT_STARTED);
    // Of one that never ran the engine says the year 1.
    if started_at <= Timestamp::UNIX_EPOCH {
        let error = state.error.filter(|error| !error.is_empty());
        let reason = Exit::NotStarted(error.unwrap_or_else(|| "it was never started".into()));
        let code = if code == 0 { NOT_STARTED } else { code };
        return State::Exited { code, started_at: created_at, finished_at: created_at, reason };
    }
    let reason = match state.oom_killed {
        Some(true) => Exit::OutOfMemory,
        _ => Exit::Ended,
    };
    State::Exited { code, started_at, finished_at: time(state.finished_at.as_deref()), reason }
}

fn time(text: Option<&str>) -> Timestamp {
    text.and_then(|text| text.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A line, which begins with its time.
pub(super) fn log_line(output: &LogOutput) -> LogLine {
    let is_stderr = matches!(output, LogOutput::StdErr { .. });
    let bytes: Bytes = output.clone().into_bytes();
    let space = bytes.iter().position(|byte| *byte == b' ');
    let begins = space.and_then(|at| {
        let time: Timestamp = std::str::from_utf8(&bytes[..at]).ok()?.parse().ok()?;
        Some((time, bytes.slice(at + 1..)))
    });
    let (time, text) = begins.unwrap_or_else(|| (clock::now(), bytes.clone()));
    LogLine { time, is_stderr, text }
}
