//! The planner and the status, by what they do with pods in every state.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::backoff::Backoff;
use super::memory::{Failure, Memory, Probed, Task};
use super::plan::{Action, Lease, Plan, View, Why, plan};
use super::status::{Host, is_coming_up, status};
use crate::agent::runtime::{Container, Exit, PodRef, Sandbox, State};

/// Seconds after the beginning of these tests.
fn at(second: i64) -> Timestamp {
    Timestamp::new(1_700_000_000 + second, 0).unwrap()
}

/// A pod on this node, with one container unless `spec` says otherwise.
fn pod(spec: &Value) -> Pod {
    let mut document = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
        "spec": {"containers": [{"name": "main", "image": "web:1"}]},
    });
    for (key, value) in spec.as_object().unwrap() {
        document["spec"][key] = value.clone();
    }
    serde_json::from_value(document).unwrap()
}

fn running(name: &str, attempt: u32, second: i64) -> Container {
    Container {
        id: format!("{name}{attempt}"),
        name: name.into(),
        attempt,
        streak: attempt,
        image: "web:1".into(),
        image_id: "sha256:1".into(),
        state: State::Running { started_at: at(second) },
    }
}

fn ended(name: &str, attempt: u32, code: i32, second: i64) -> Container {
    let state = State::Exited {
        code,
        started_at: at(second),
        finished_at: at(second + 1),
        reason: Exit::Ended,
    };
    Container { state, ..running(name, attempt, second) }
}

fn sandbox(containers: Vec<Container>) -> Sandbox {
    Sandbox {
        pod: PodRef { namespace: "shop".into(), name: "web".into(), uid: "u1".into() },
        is_ready: true,
        address: Some([10, 244, 0, 2].into()),
        created_at: at(0),
        containers,
    }
}

/// A scene: what is wanted, what there is, what is remembered, and when.
struct Scene {
    pod: Pod,
    sandbox: Option<Sandbox>,
    memory: Memory,
    lease: Lease,
    now: Timestamp,
}

impl Scene {
    fn new(spec: &Value, sandbox: Option<Sandbox>) -> Self {
        let memory = Memory::default();
        Self { pod: pod(spec), sandbox, memory, lease: Lease::Held, now: at(100) }
    }

    fn view(&self) -> View<'_> {
        View {
            pod: &self.pod,
            sandbox: self.sandbox.as_ref(),
            memory: &self.memory,
            backoff: Backoff::default(),
            lease: self.lease,
            now: self.now,
        }
    }

    fn plan(&self) -> Plan {
        plan(&self.view())
    }

    fn actions(&self) -> Vec<Action> {
        self.plan().actions
    }

    fn status(&self) -> PodStatus {
        let host = Host { address: [10, 0, 0, 1].into(), runtime: "runc" };
        status(&self.view(), host)
    }

    /// Of the first container: its waiting reason and message.
    fn waiting(&self) -> (String, String) {
        let status = self.status().container_statuses.unwrap().remove(0);
        let waiting = status.state.unwrap().waiting.expect("it waits");
        (waiting.reason.unwrap(), waiting.message.unwrap_or_default())
    }
}

fn start(name: &str, attempt: u32, streak: u32) -> Action {
    Action::Start { name: name.into(), attempt, streak }
}

fn stop(id: &str, grace_s: u64, why: Why) -> Action {
    let name = id.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    Action::Stop { id: id.into(), name, grace: std::time::Duration::from_secs(grace_s), why }
}

#[test]
fn a_pod_comes_up_step_by_step() {
    // Proves sandbox first, then init containers one by one, then all main containers, and that
    // what is under way is not begun again.
    let spec = json!({
        "initContainers": [{"name": "a", "image": "web:1"}, {"name": "b", "image": "web:1"}],
        "containers": [{"name": "main", "image": "web:1"}, {"name": "side", "image": "web:1"}],
    });
    let mut scene = Scene::new(&spec, None);
    assert_eq!(scene.actions(), [Action::StartSandbox]);
    assert_eq!(scene.status().phase.as_deref(), Some("Pending"));
    scene.memory.busy.insert(Task::Sandbox);
    assert_eq!(scene.actions(), []);
    scene.memory.busy.clear();
    scene.sandbox = Some(sandbox(vec![]));
    assert_eq!(scene.actions(), [start("a", 0, 0)]);
    assert_eq!(scene.waiting().0, "PodInitializing");
    scene.memory.busy.insert(Task::Start("a".into()));
    assert_eq!(scene.actions(), []);
    scene.memory.busy.clear();
    scene.sandbox = Some(sandbox(vec![running("a", 0, 1)]));
    assert_eq!(scene.actions(), []);
    scene.sandbox = Some(sandbox(vec![ended("a", 0, 0, 1)]));
    assert_eq!(scene.actions(), [start("b", 0, 0)]);
    scene.sandbox = Some(sandbox(vec![ended("a", 0, 0, 1), ended("b", 0, 0, 3)]));
    assert_eq!(scene.actions(), [start("main", 0, 0), start("side", 0, 0)]);
    scene.sandbox = Some(sandbox(vec![
        ended("a", 0, 0, 1),
        ended("b", 0, 0, 3),
        running("main", 0, 5),
        running("side", 0, 5),
    ]));
    assert_eq!(scene.actions(), []);
    let status = scene.status();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.0.2"));
    let ready = status.conditions.unwrap().into_iter().find(|one| one.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "True");
}

#[test]
fn containers_are_restarted_by_their_policy_and_after_a_pause() {
    // Proves the three policies, the growing pause, CrashLoopBackOff, and the phases at the end.
    let one = |policy: &str, container: Container| {
        Scene::new(&json!({"restartPolicy": policy}), Some(sandbox(vec![container])))
    };
    let phase = |scene: &Scene| scene.status().phase.unwrap();
    let done = one("Never", ended("main", 0, 0, 10));
    assert_eq!((done.actions(), phase(&done)), (vec![Action::StopSandbox], "Succeeded".into()));
    assert_eq!(phase(&one("Never", ended("main", 0, 1, 10))), "Failed");
    let done = one("OnFailure", ended("main", 0, 0, 10));
    assert_eq!((done.actions(), phase(&done)), (vec![Action::StopSandbox], "Succeeded".into()));
    let again = one("OnFailure", ended("main", 0, 1, 10));
    assert_eq!((again.actions(), phase(&again)), (vec![start("main", 1, 1)], "Running".into()));
    assert_eq!(one("Always", ended("main", 0, 0, 10)).actions(), [start("main", 1, 1)]);
    // The second failure in a row: 10 s after 100 + 1.
    let waits = one("Always", ended("main", 1, 1, 100));
    assert_eq!((waits.actions(), waits.plan().wake_at), (vec![], Some(at(111))));
    let (reason, message) = waits.waiting();
    assert_eq!(reason, "CrashLoopBackOff");
    assert!(message.contains("back-off 10s restarting failed container=main pod=web_shop"));
    let status = waits.status().container_statuses.unwrap().remove(0);
    assert_eq!(status.restart_count, 1);
    assert_eq!(status.last_state.unwrap().terminated.unwrap().exit_code, 1);
    let mut due = one("Always", ended("main", 1, 1, 100));
    due.now = at(111);
    assert_eq!(due.actions(), [start("main", 2, 2)]);
    // One that ran for ten minutes starts anew.
    let mut long = one("Always", ended("main", 4, 1, 100));
    long.sandbox.as_mut().unwrap().containers[0].state =
        State::Exited { code: 1, started_at: at(100), finished_at: at(700), reason: Exit::Ended };
    long.now = at(700);
    assert_eq!(long.actions(), [start("main", 5, 0)]);
}

#[test]
fn sidecars_start_first_are_kept_and_end_last() {
    // Proves that a sidecar is waited for until it has started, is restarted whatever the policy,
    // does not keep a finished pod alive, and is stopped after the main containers.
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [{
            "name": "log", "image": "web:1", "restartPolicy": "Always",
            "startupProbe": {"exec": {"command": ["true"]}},
        }],
    });
    let mut scene = Scene::new(&spec, Some(sandbox(vec![running("log", 0, 1)])));
    assert_eq!(scene.actions(), []);
    let started = Probed { has_started: true, ..Probed::default() };
    scene.memory.probed.insert("log0".into(), started);
    assert_eq!(scene.actions(), [start("main", 0, 0)]);
    scene.sandbox = Some(sandbox(vec![ended("log", 0, 1, 1), running("main", 0, 2)]));
    assert_eq!(scene.actions(), [start("log", 1, 1)]);
    scene.sandbox = Some(sandbox(vec![running("log", 1, 1), ended("main", 0, 0, 2)]));
    assert_eq!(scene.actions(), [stop("log1", 30, Why::Over)]);
    scene.sandbox = Some(sandbox(vec![running("log", 1, 1), running("main", 0, 2)]));
    scene.pod.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(105)));
    assert_eq!(scene.actions(), [stop("main0", 5, Why::Over)]);
    scene.sandbox = Some(sandbox(vec![running("log", 1, 1), ended("main", 0, 143, 2)]));
    assert_eq!(scene.actions(), [stop("log1", 5, Why::Over)]);
    scene.sandbox = Some(sandbox(vec![ended("log", 1, 143, 1), ended("main", 0, 143, 2)]));
    assert_eq!(scene.actions(), [Action::Finish]);
}

#[test]
fn a_deleted_pod_is_stopped_once_and_hurried_when_it_is_to_be() {
    // Proves the time left, that a stop is not begun twice, that a shorter one replaces it, and
    // that nothing is started any more.
    let mut scene = Scene::new(&json!({}), Some(sandbox(vec![running("main", 0, 1)])));
    let delete = |scene: &mut Scene, by: i64| {
        scene.pod.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(by)));
    };
    delete(&mut scene, 130);
    assert_eq!(scene.actions(), [stop("main0", 30, Why::Over)]);
    scene.memory.stopping.insert("main0".into(), at(130));
    assert_eq!(scene.actions(), []);
    delete(&mut scene, 101);
    assert_eq!(scene.actions(), [stop("main0", 1, Why::Over)]);
    let mut never = Scene::new(&json!({}), None);
    delete(&mut never, 130);
    assert_eq!(never.actions(), [Action::Finish]);
    never.memory.busy.insert(Task::Sandbox);
    assert_eq!(never.actions(), []);
}

#[test]
fn what_cannot_start_says_why_and_is_tried_again() {
    // Proves ErrImagePull, then ImagePullBackOff with the reason, the pauses, and that a pod whose
    // image never comes can still be deleted.
    let mut scene = Scene::new(&json!({}), Some(sandbox(vec![])));
    let failure = |count| Failure {
        reason: "ErrImagePull",
        message: "no such registry".into(),
        at: at(100),
        count,
    };
    scene.memory.failures.insert("main".into(), failure(1));
    let first = scene.plan();
    assert_eq!((first.actions, first.wake_at), (vec![], Some(at(102))));
    assert_eq!(scene.waiting(), ("ErrImagePull".into(), "no such registry".into()));
    scene.now = at(103);
    assert_eq!(scene.plan().wake_at, Some(at(110)));
    let (reason, message) = scene.waiting();
    assert_eq!(reason, "ImagePullBackOff");
    assert!(message.contains("web:1") && message.contains("no such registry"), "{message}");
    scene.now = at(110);
    assert_eq!(scene.actions(), [start("main", 0, 0)]);
    scene.memory.failures.insert("main".into(), failure(3));
    scene.now = at(139);
    assert_eq!((scene.actions(), scene.plan().wake_at), (vec![], Some(at(140))));
    scene.memory.sandbox_failure =
        Some(Failure { reason: "", message: "no address".into(), at: at(139), count: 1 });
    scene.memory.failures.clear();
    scene.sandbox = None;
    assert_eq!((scene.actions(), scene.waiting().1), (vec![], "no address".into()));
}

#[test]
fn a_node_that_loses_its_lease_stops_what_others_will_start() {
    // Proves that a replica is stopped at once and not started again, that a pod of a DaemonSet or
    // of nobody runs on, and that everything goes on when the lease is back.
    let owned = |kind: &str| {
        let mut scene = Scene::new(&json!({}), Some(sandbox(vec![running("main", 0, 1)])));
        let owner = json!([{"apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": "o", "controller": true}]);
        scene.pod.metadata.owner_references = Some(serde_json::from_value(owner).unwrap());
        scene.lease = Lease::Fading;
        scene
    };
    let mut replica = owned("ReplicaSet");
    assert_eq!(replica.actions(), [stop("main0", 1, Why::NoLease)]);
    replica.sandbox = Some(sandbox(vec![ended("main", 0, 137, 1)]));
    assert_eq!(replica.actions(), []);
    replica.lease = Lease::Held;
    assert_eq!(replica.actions(), [start("main", 1, 1)]);
    assert_eq!(owned("DaemonSet").actions(), []);
    let mut alone = Scene::new(&json!({}), Some(sandbox(vec![running("main", 0, 1)])));
    alone.lease = Lease::Fading;
    assert_eq!(alone.actions(), []);
    alone.sandbox = None;
    assert_eq!(alone.actions(), [], "nothing is started without the lease");
}

#[test]
fn probes_decide_on_readiness_and_restarts() {
    // Proves that a probe that was not answered yet is not readiness, that a sick container is
    // stopped and started again, and that another image means another container.
    let spec = json!({"containers": [{
        "name": "main", "image": "web:1", "readinessProbe": {"tcpSocket": {"port": 80}},
    }]});
    let mut scene = Scene::new(&spec, Some(sandbox(vec![running("main", 0, 1)])));
    let is_ready = |scene: &Scene| scene.status().container_statuses.unwrap()[0].ready;
    assert!(!is_ready(&scene));
    let well = Probed { has_started: true, is_ready: true, sick: None };
    scene.memory.probed.insert("main0".into(), well.clone());
    assert!(is_ready(&scene));
    let sick = Probed { sick: Some("failed liveness probe".into()), ..well };
    scene.memory.probed.insert("main0".into(), sick);
    assert_eq!(scene.actions(), [stop("main0", 30, Why::Sick("failed liveness probe".into()))]);
    scene.memory.probed.clear();
    scene.sandbox.as_mut().unwrap().containers[0].image = "web:0".into();
    assert_eq!(scene.actions(), [stop("main0", 30, Why::Changed)]);
}

#[test]
fn a_lost_sandbox_a_deadline_and_old_containers() {
    // Proves that containers of a sandbox that is gone are stopped and everything begins anew, that
    // activeDeadlineSeconds ends a pod as Failed, and that only two dead containers are kept.
    let mut scene = Scene::new(&json!({}), Some(sandbox(vec![running("main", 0, 1)])));
    scene.sandbox.as_mut().unwrap().is_ready = false;
    assert_eq!(scene.actions(), [stop("main0", 30, Why::NoSandbox)]);
    scene.sandbox.as_mut().unwrap().containers = vec![ended("main", 0, 137, 1)];
    assert_eq!(scene.actions(), [Action::StartSandbox]);
    let mut late = Scene::new(
        &json!({"activeDeadlineSeconds": 10}),
        Some(sandbox(vec![running("main", 0, 1)])),
    );
    let start = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(95));
    late.pod.status = Some(PodStatus { start_time: Some(start), ..PodStatus::default() });
    assert_eq!((late.actions(), late.plan().wake_at), (vec![], Some(at(105))));
    late.now = at(105);
    assert_eq!(late.actions(), [stop("main0", 30, Why::Over)]);
    assert_eq!(late.status().reason.as_deref(), Some("DeadlineExceeded"));
    let many = (0..4).map(|attempt| ended("main", attempt, 1, 90)).collect();
    let scene = Scene::new(&json!({}), Some(sandbox(many)));
    let remove = |id: &str| Action::Remove { id: id.into() };
    assert_eq!(scene.actions(), [remove("main1"), remove("main0")]);
}

#[test]
fn the_same_twice_is_no_news() {
    // Proves that a status that was written is made again as it was, later too: nothing is written
    // without a change.
    let mut scene = Scene::new(&json!({}), Some(sandbox(vec![running("main", 0, 1)])));
    scene.pod.status = Some(scene.status());
    scene.now += SignedDuration::from_hours(1);
    assert_eq!(Some(scene.status()), scene.pod.status);
}

#[test]
fn what_comes_up_as_it_should_is_told_from_what_does_not() {
    // Proves that a pod which is only on its way up, with or without its network, is told from one
    // whose container runs, has ended, or cannot be started, and from one with init containers,
    // which take their time.
    let mut scene = Scene::new(&json!({}), None);
    assert!(is_coming_up(&scene.status()));
    scene.sandbox = Some(sandbox(vec![]));
    assert!(is_coming_up(&scene.status()));
    for container in [running("main", 0, 1), ended("main", 0, 1, 1)] {
        scene.sandbox = Some(sandbox(vec![container]));
        assert!(!is_coming_up(&scene.status()));
    }
    let reason = "ErrImagePull";
    let failure = Failure { reason, message: "none".into(), at: scene.now, count: 1 };
    scene.sandbox = Some(sandbox(vec![]));
    scene.memory.failures.insert("main".into(), failure);
    assert!(!is_coming_up(&scene.status()));
    let inits = json!({"initContainers": [{"name": "init", "image": "web:1"}]});
    assert!(!is_coming_up(&Scene::new(&inits, None).status()));
}
