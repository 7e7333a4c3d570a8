//! What every runtime must do, tried on all three: a suite of tests, here for `fake`, and for those
//! that need the program itself in its own tests. The commands are ones that `fake` pretends.

#![expect(clippy::unwrap_used, reason = "tests, for more than one crate")]

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use super::*;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A runtime to try, which can be opened again as a new agent would.
pub struct Subject {
    /// With `/bin/busybox` in it.
    pub image: String,
    pub cidr: Cidr,
    pub open: Box<dyn Fn() -> Arc<dyn Runtime>>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Subject").field("image", &self.image).finish_non_exhaustive()
    }
}

fn pod(name: &str) -> PodRef {
    let uid = format!("{name}-{:08x}", rand::random::<u32>());
    PodRef { namespace: "default".into(), name: name.into(), uid }
}

impl Subject {
    fn container(&self, pod: &PodRef, name: &str, script: &str) -> ContainerSpec {
        ContainerSpec {
            pod: pod.clone(),
            name: name.into(),
            image: self.image.clone(),
            command: ["/bin/busybox", "sh", "-c", script].map(str::to_owned).into(),
            env: vec![("GREETING".into(), "hello".into())],
            hostname: pod.name.clone(),
            log_bytes_max: 1 << 20,
            log_files_max: 2,
            ..ContainerSpec::default()
        }
    }
}

async fn sandbox(runtime: &Arc<dyn Runtime>, pod: &PodRef) {
    let spec = SandboxSpec { pod: pod.clone(), hostname: pod.name.clone(), host_network: false };
    runtime.start_sandbox(&spec).await.unwrap();
}

async fn container(runtime: &Arc<dyn Runtime>, pod: &PodRef, id: &str) -> Container {
    let found = runtime.observe(&pod.uid).await.unwrap().unwrap();
    found.containers.into_iter().find(|container| container.id == id).unwrap()
}

async fn exit_code(runtime: &Arc<dyn Runtime>, pod: &PodRef, id: &str) -> i32 {
    let mut changes = runtime.changes();
    let waiting = async {
        loop {
            if let State::Exited { code, .. } = container(runtime, pod, id).await.state {
                return code;
            }
            // Either a change, or another look.
            let _ = tokio::time::timeout(Duration::from_secs(5), changes.recv()).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it ends")
}

async fn said(runtime: &Arc<dyn Runtime>, id: &str, query: LogQuery) -> String {
    let lines = runtime.logs(id, query).await.unwrap();
    lines.map(|line| String::from_utf8(line.unwrap().text.to_vec()).unwrap()).collect().await
}

/// The whole contract.
///
/// # Panics
/// The runtime does not keep it.
pub async fn keep(subject: &Subject) {
    let runtime = (subject.open)();
    runtime.set_pod_cidr(&subject.cidr, &subject.cidr).await.unwrap();
    assert!(!runtime.version().await.unwrap().is_empty());
    images(subject, &runtime).await;
    to_the_end(subject, &runtime).await;
    stopped(subject, &runtime).await;
    outlives(subject, &runtime).await;
    executes(subject, &runtime).await;
    if runtime.name() != "fake" {
        mounts(subject, &runtime).await;
    }
    refuses(subject, &runtime).await;
}

async fn images(subject: &Subject, runtime: &Arc<dyn Runtime>) {
    let image = runtime.image(&subject.image).await.unwrap().expect("the image is here");
    assert!(!image.id.is_empty());
    let missing = "registry.invalid/nothing:1";
    assert_eq!(runtime.image(missing).await.unwrap(), None);
    let error = runtime.pull(missing).await.unwrap_err();
    assert_eq!(error.kind, Kind::NoSuchImage);
    assert!(error.message.contains("registry.invalid"), "{error}");
}

/// A container runs, says something and ends; what it was can be looked at until it is removed.
async fn to_the_end(subject: &Subject, runtime: &Arc<dyn Runtime>) {
    let pod = pod("ends");
    sandbox(runtime, &pod).await;
    sandbox(runtime, &pod).await;
    let seen = runtime.observe(&pod.uid).await.unwrap().unwrap();
    assert!(seen.is_ready && seen.pod == pod);
    let IpAddr::V4(address) = seen.address.unwrap() else { panic!("{:?}", seen.address) };
    let offset = u32::from(address).wrapping_sub(u32::from(subject.cidr.network));
    assert!((2..subject.cidr.size() - 1).contains(&offset), "{address} of {}", subject.cidr);
    let spec = subject.container(&pod, "main", "echo one; echo two; sleep 0.3; exit 3");
    let id = runtime.start_container(&spec).await.unwrap();
    let following = LogQuery { follow: true, ..LogQuery::default() };
    assert_eq!(said(runtime, &id, following).await, "one\ntwo\n");
    assert_eq!(exit_code(runtime, &pod, &id).await, 3);
    let seen = container(runtime, &pod, &id).await;
    assert_eq!((seen.name.as_str(), seen.attempt, &seen.image), ("main", 0, &subject.image));
    let tail = LogQuery { tail: Some(1), ..LogQuery::default() };
    assert_eq!(said(runtime, &id, tail).await, "two\n");
    let again = ContainerSpec { attempt: 1, streak: 1, ..spec };
    let second = runtime.start_container(&again).await.unwrap();
    assert_eq!(exit_code(runtime, &pod, &second).await, 3);
    assert_eq!(container(runtime, &pod, &second).await.streak, 1);
    runtime.remove_container(&id).await.unwrap();
    runtime.remove_container(&id).await.unwrap();
    runtime.stop_sandbox(&pod.uid).await.unwrap();
    let seen = runtime.observe(&pod.uid).await.unwrap().unwrap();
    assert!(!seen.is_ready && seen.containers.len() == 1, "{seen:?}");
    runtime.remove_pod(&pod.uid).await.unwrap();
    runtime.remove_pod(&pod.uid).await.unwrap();
    assert_eq!(runtime.observe(&pod.uid).await.unwrap(), None);
}

/// A container is stopped, or killed when it does not listen, and a pod goes with what runs in it.
async fn stopped(subject: &Subject, runtime: &Arc<dyn Runtime>) {
    let pod = pod("stops");
    sandbox(runtime, &pod).await;
    let spec = subject.container(&pod, "main", "sleep 600");
    let id = runtime.start_container(&spec).await.unwrap();
    assert!(runtime.remove_container(&id).await.is_err(), "it runs");
    runtime.stop_container(&id, Duration::from_secs(1)).await.unwrap();
    assert_ne!(exit_code(runtime, &pod, &id).await, 0);
    runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    let other = runtime.start_container(&ContainerSpec { attempt: 1, ..spec }).await.unwrap();
    runtime.stop_container(&other, Duration::ZERO).await.unwrap();
    assert_eq!(exit_code(runtime, &pod, &other).await, 137);
    let third = subject.container(&pod, "other", "sleep 600");
    runtime.start_container(&third).await.unwrap();
    runtime.remove_pod(&pod.uid).await.unwrap();
    assert_eq!(runtime.observe(&pod.uid).await.unwrap(), None);
}

/// Whoever comes after finds what runs, hears of its end, and nothing was started again.
async fn outlives(subject: &Subject, runtime: &Arc<dyn Runtime>) {
    let pod = pod("outlives");
    sandbox(runtime, &pod).await;
    let spec = subject.container(&pod, "main", "echo before; sleep 3; echo after; exit 5");
    let id = runtime.start_container(&spec).await.unwrap();
    let before = container(runtime, &pod, &id).await;
    let next = (subject.open)();
    assert!(next.pods().await.unwrap().contains(&pod));
    assert_eq!(container(&next, &pod, &id).await, before);
    assert_eq!(exit_code(&next, &pod, &id).await, 5);
    assert_eq!(said(&next, &id, LogQuery::default()).await, "before\nafter\n");
    next.remove_pod(&pod.uid).await.unwrap();
    assert_eq!(runtime.observe(&pod.uid).await.unwrap(), None);
}

async fn executes(subject: &Subject, runtime: &Arc<dyn Runtime>) {
    let pod = pod("execs");
    sandbox(runtime, &pod).await;
    let spec = subject.container(&pod, "main", "sleep 600");
    let id = runtime.start_container(&spec).await.unwrap();
    let command = |script: &str| ExecSpec {
        command: ["/bin/busybox", "sh", "-c", script].map(str::to_owned).into(),
        ..ExecSpec::default()
    };
    let exec = runtime.exec(&id, command("echo within; exit 7")).await.unwrap();
    let (output, code) = exec.collect(1000).await.unwrap();
    assert_eq!((&output[..], code), (&b"within\n"[..], 7));
    runtime.stop_container(&id, Duration::ZERO).await.unwrap();
    let error = runtime.exec(&id, command("true")).await.unwrap_err();
    assert_eq!(error.kind, Kind::NoSuchContainer);
    runtime.remove_pod(&pod.uid).await.unwrap();
}

/// A directory that is named by a descriptor of ours is mounted, whatever is in its place by then.
async fn mounts(subject: &Subject, runtime: &Arc<dyn Runtime>) {
    use std::os::fd::AsRawFd;
    let pod = pod("mounts");
    sandbox(runtime, &pod).await;
    let directory = tempfile::tempdir().unwrap();
    let (own, other) = (directory.path().join("own"), directory.path().join("other"));
    for (place, text) in [(&own, "own"), (&other, "other")] {
        std::fs::create_dir(place).unwrap();
        std::fs::write(place.join("file"), text).unwrap();
    }
    let held = std::fs::File::open(&own).unwrap();
    std::fs::rename(&own, directory.path().join("away")).unwrap();
    std::os::unix::fs::symlink(&other, &own).unwrap();
    let source = format!("/proc/{}/fd/{}", std::process::id(), held.as_raw_fd()).into();
    let script = "/bin/busybox cat /held/file; echo > /held/new";
    let mut spec = subject.container(&pod, "main", script);
    spec.mounts = vec![Mount { source, target: "/held".into(), read_only: true }];
    let id = runtime.start_container(&spec).await.unwrap();
    drop(held);
    assert_ne!(exit_code(runtime, &pod, &id).await, 0, "it is read only");
    let log = said(runtime, &id, LogQuery::default()).await;
    assert!(log.contains("own") && !log.contains("other"), "{log}");
    runtime.remove_pod(&pod.uid).await.unwrap();
}

/// What cannot be is refused with a reason, and nothing runs.
async fn refuses(subject: &Subject, runtime: &Arc<dyn Runtime>) {
    let pod = pod("refused");
    let spec = subject.container(&pod, "main", "sleep 600");
    assert!(runtime.start_container(&spec).await.is_err(), "there is no sandbox");
    sandbox(runtime, &pod).await;
    let missing = ContainerSpec { image: "registry.invalid/nothing:1".into(), ..spec };
    let error = runtime.start_container(&missing).await.unwrap_err();
    assert_eq!(error.kind, Kind::NoSuchImage, "{error}");
    let running = |container: &Container| matches!(container.state, State::Running { .. });
    let seen = runtime.observe(&pod.uid).await.unwrap().unwrap();
    assert!(!seen.containers.iter().any(running), "{seen:?}");
    runtime.remove_pod(&pod.uid).await.unwrap();
}

#[cfg(test)]
#[tokio::test]
async fn fake_keeps_the_contract() {
    // Proves the whole contract for pretended containers.
    let fake = fake::Fake::new(fake::Latency::default());
    let open = Box::new(move || Arc::new(fake.clone()) as Arc<dyn Runtime>);
    let cidr = "10.231.7.0/24".parse().unwrap();
    keep(&Subject { image: "busybox:test".into(), cidr, open }).await;
}
