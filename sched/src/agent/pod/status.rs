//! How a pod is, as the store is told.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    Container as Wanted, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::memory::Failure;
use super::plan::{Initialized, SHOWN, View};
use super::spec::{self, Restart};
use crate::agent::runtime::{Container, Exit, State};

/// Why a container has not run yet.
const CREATING: &str = "ContainerCreating";

/// What the status says of the node.
#[derive(Clone, Copy, Debug)]
pub(in crate::agent) struct Host {
    pub(in crate::agent) address: IpAddr,
    /// Of container ids: `runc://...`.
    pub(in crate::agent) runtime: &'static str,
}

/// The whole status. What others have written (conditions that are not the agent's, `qosClass`)
/// stays.
pub(in crate::agent) fn status(view: &View<'_>, host: Host) -> PodStatus {
    let before = view.pod.status.clone().unwrap_or_default();
    let mut now = before.clone();
    let list = |containers: &[Wanted]| -> Vec<ContainerStatus> {
        containers.iter().map(|wanted| one(view, wanted, host.runtime)).collect()
    };
    let inits = list(spec::inits(view.pod));
    let mains = list(spec::mains(view.pod));
    now.phase = Some(phase(view, &mains).to_owned());
    if view.is_past_deadline() && !matches!(before.phase.as_deref(), Some("Succeeded")) {
        now.reason = Some("DeadlineExceeded".into());
        now.message = Some("the pod was active for longer than activeDeadlineSeconds".into());
    }
    now.start_time = before.start_time.or(Some(Time(view.now)));
    now.host_ip = Some(host.address.to_string());
    now.host_ips = Some(vec![HostIP { ip: host.address.to_string() }]);
    let own = view.sandbox.and_then(|sandbox| match sandbox.is_ready {
        true if spec::is_host_network(view.pod) => Some(host.address),
        _ => sandbox.address,
    });
    if let Some(address) = own.map(|address| address.to_string()) {
        now.pod_ips = Some(vec![PodIP { ip: address.clone() }]);
        now.pod_ip = Some(address);
    }
    now.conditions = Some(conditions(view, &now, &mains, &inits));
    now.init_container_statuses = (!inits.is_empty()).then_some(inits);
    now.container_statuses = Some(mains);
    now
}

fn phase(view: &View<'_>, mains: &[ContainerStatus]) -> &'static str {
    match spec::final_phase(view.pod) {
        Some("Failed") => return "Failed",
        Some(_) => return "Succeeded",
        None => {}
    }
    if view.is_past_deadline() {
        return "Failed";
    }
    match view.initialized() {
        Initialized::Failed => return "Failed",
        Initialized::Not(_) => return "Pending",
        Initialized::Yes => {}
    }
    let code = |status: &ContainerStatus| {
        status.state.as_ref().and_then(|state| state.terminated.as_ref()).map(|end| end.exit_code)
    };
    if view.have_mains_ended() {
        return if mains.iter().all(|main| code(main) == Some(0)) { "Succeeded" } else { "Failed" };
    }
    let has_begun = |main: &Wanted| view.latest(&main.name).is_some();
    match spec::mains(view.pod).iter().all(has_begun) {
        true => "Running",
        false => "Pending",
    }
}

fn one(view: &View<'_>, wanted: &Wanted, runtime: &str) -> ContainerStatus {
    let latest = view.latest(&wanted.name);
    let is_running = latest.is_some_and(|one| matches!(one.state, State::Running { .. }));
    let has_started = latest.is_some_and(|one| is_running && view.has_started(wanted, one));
    let is_done_init = !spec::is_main(view.pod, &wanted.name)
        && !spec::is_sidecar(wanted)
        && latest.is_some_and(|one| matches!(one.state, State::Exited { code: 0, .. }));
    let is_ready = latest.is_some_and(|one| is_running && view.is_ready(wanted, one));
    let (state, last) = states(view, wanted, runtime);
    ContainerStatus {
        name: wanted.name.clone(),
        image: wanted.image.clone().unwrap_or_default(),
        image_id: latest.map(|one| one.image_id.clone()).unwrap_or_default(),
        container_id: latest.map(|one| format!("{runtime}://{}", one.id)),
        ready: is_ready || is_done_init,
        started: Some(has_started),
        restart_count: latest.map_or(0, |one| i32::try_from(one.attempt).unwrap_or(i32::MAX)),
        state: Some(state),
        last_state: last,
        ..ContainerStatus::default()
    }
}

/// How it is, and how the run before ended.
fn states(
    view: &View<'_>,
    wanted: &Wanted,
    runtime: &str,
) -> (ContainerState, Option<ContainerState>) {
    let end_of = |container: Option<&Container>| {
        let container = container?;
        let told = view.memory.messages.get(&container.id).cloned().flatten();
        terminated(container, runtime, told)
    };
    let previous = || end_of(view.previous(&wanted.name));
    let Some(latest) = view.latest(&wanted.name) else { return (not_yet(view, wanted), None) };
    if let State::Running { started_at } = latest.state {
        let running = ContainerStateRunning { started_at: Some(Time(started_at)) };
        let state = ContainerState { running: Some(running), ..ContainerState::default() };
        return (state, previous());
    }
    let is_over = view.is_over() || spec::deleted(view.pod).is_some();
    let again = view.next_start(wanted).filter(|_| !is_over);
    let Some((_, _, at)) = again else {
        return (end_of(Some(latest)).unwrap_or_default(), previous());
    };
    if let Some(failure) = view.memory.failures.get(&wanted.name) {
        return (failed(view, wanted, failure), end_of(Some(latest)));
    }
    if at > view.now {
        // The whole pause, not what is left of it: it is written once.
        let pause = view.backoff.restart(latest.streak.saturating_add(1));
        let message = format!(
            "back-off {}s restarting failed container={} pod={}_{}",
            pause.as_secs(),
            wanted.name,
            spec::name(view.pod),
            spec::namespace(view.pod),
        );
        return (waiting("CrashLoopBackOff", Some(message)), end_of(Some(latest)));
    }
    (end_of(Some(latest)).unwrap_or_default(), previous())
}

/// Why a container has never run.
fn not_yet(view: &View<'_>, wanted: &Wanted) -> ContainerState {
    if let Some(failure) = view.memory.failures.get(&wanted.name) {
        return failed(view, wanted, failure);
    }
    let has_inits = !spec::inits(view.pod).is_empty();
    let waits = matches!(view.initialized(), Initialized::Not(first) if first.name != wanted.name);
    if has_inits && waits {
        return waiting("PodInitializing", None);
    }
    let message = view.memory.sandbox_failure.as_ref().map(|failure| failure.message.clone());
    waiting(CREATING, message)
}

/// At first as what it is, then as a pause before the next try.
fn failed(view: &View<'_>, wanted: &Wanted, failure: &Failure) -> ContainerState {
    let is_new = view.now < failure.at + SHOWN;
    if failure.reason == "ErrImagePull" && !is_new {
        let image = wanted.image.as_deref().unwrap_or_default();
        let message = format!("Back-off pulling image \"{image}\": {}", failure.message);
        return waiting("ImagePullBackOff", Some(message));
    }
    waiting(failure.reason, Some(failure.message.clone()))
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(
    container: &Container,
    runtime: &str,
    told: Option<String>,
) -> Option<ContainerState> {
    let State::Exited { code, started_at, finished_at, reason } = &container.state else {
        return None;
    };
    let (reason, message) = match reason {
        Exit::Ended if *code == 0 => ("Completed", None),
        Exit::Ended => ("Error", None),
        Exit::OutOfMemory => ("OOMKilled", None),
        Exit::NotStarted(why) => ("StartError", Some(why.clone())),
        Exit::Unknown(why) => ("ContainerStatusUnknown", Some(why.clone())),
    };
    let terminated = ContainerStateTerminated {
        container_id: Some(format!("{runtime}://{}", container.id)),
        exit_code: *code,
        finished_at: Some(Time(*finished_at)),
        started_at: Some(Time(*started_at)),
        reason: Some(reason.to_owned()),
        message: message.or(told),
        signal: None,
    };
    Some(ContainerState { terminated: Some(terminated), ..ContainerState::default() })
}

fn conditions(
    view: &View<'_>,
    now: &PodStatus,
    mains: &[ContainerStatus],
    inits: &[ContainerStatus],
) -> Vec<PodCondition> {
    let before = view.pod.status.as_ref().and_then(|status| status.conditions.clone());
    let before = before.unwrap_or_default();
    let is_initialized = matches!(view.initialized(), Initialized::Yes);
    let sidecars = spec::inits(view.pod).iter().filter(|one| spec::is_sidecar(one));
    let beside = sidecars.filter_map(|one| inits.iter().find(|status| status.name == one.name));
    let unready: Vec<&str> = mains
        .iter()
        .chain(beside)
        .filter(|status| !status.ready)
        .map(|status| status.name.as_str())
        .collect();
    let is_over = matches!(now.phase.as_deref(), Some("Succeeded" | "Failed"));
    let are_ready = unready.is_empty() && is_initialized && !is_over;
    let gates = spec::spec(view.pod).and_then(|spec| spec.readiness_gates.clone());
    let is_true = |kind: &str| before.iter().any(|one| one.type_ == kind && one.status == "True");
    let gates_open = gates.unwrap_or_default().iter().all(|gate| is_true(&gate.condition_type));
    let why = match (is_over, unready.is_empty(), gates_open) {
        (true, _, _) => Some(("PodCompleted", String::new())),
        (_, false, _) => Some((
            "ContainersNotReady",
            format!("containers with unready status: [{}]", unready.join(" ")),
        )),
        (_, _, false) => Some(("ReadinessGatesNotReady", "a readiness gate is closed".to_owned())),
        _ => None,
    };
    let is_stage = Restart::of(view.pod) == Restart::Always || !is_over;
    let uninitialized =
        Some(("ContainersNotInitialized", "init containers are not through".into()));
    let has_sandbox = view.sandbox.is_some_and(|sandbox| sandbox.is_ready);
    let own: [Holds<'_>; 5] = [
        ("PodReadyToStartContainers", has_sandbox, None),
        ("Initialized", is_initialized || (is_over && !is_stage), uninitialized),
        ("Ready", are_ready && gates_open, why.clone()),
        ("ContainersReady", are_ready, why),
        ("PodScheduled", true, None),
    ];
    let others = before.iter().filter(|one| own.iter().all(|(kind, _, _)| one.type_ != *kind));
    let mut all: Vec<PodCondition> = own
        .iter()
        .map(|(kind, holds, why)| condition(view, &before, kind, *holds, why.as_ref()))
        .collect();
    all.extend(others.cloned());
    all
}

/// A condition, whether it holds, and why if not.
type Holds<'a> = (&'a str, bool, Option<(&'a str, String)>);

fn condition(
    view: &View<'_>,
    before: &[PodCondition],
    kind: &str,
    holds: bool,
    why: Option<&(&str, String)>,
) -> PodCondition {
    let status = if holds { "True" } else { "False" };
    let old = before.iter().find(|one| one.type_ == kind);
    let since =
        old.filter(|old| old.status == status).and_then(|old| old.last_transition_time.clone());
    let why = why.filter(|_| !holds);
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        last_transition_time: since.or(Some(Time(view.now))),
        reason: why.map(|(reason, _)| (*reason).to_owned()),
        message: why.map(|(_, message)| message.clone()).filter(|message| !message.is_empty()),
        ..PodCondition::default()
    }
}

/// Whether any container has to be written about: the same but for the time is no news.
pub(in crate::agent) fn is_news(before: &Pod, now: &PodStatus) -> bool {
    before.status.as_ref() != Some(now)
}

/// Whether the pod is on its way up, and nothing stands in it: what comes next says all of this,
/// and more.
pub(in crate::agent) fn is_coming_up(now: &PodStatus) -> bool {
    let is_waiting = |status: &ContainerStatus| {
        let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
        status.last_state.is_none()
            && waiting.is_some_and(|waiting| {
                waiting.message.is_none() && waiting.reason.as_deref() == Some(CREATING)
            })
    };
    now.phase.as_deref() == Some("Pending")
        && now.init_container_statuses.is_none()
        && now.container_statuses.iter().flatten().all(is_waiting)
}
