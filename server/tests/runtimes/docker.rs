//! A Docker engine of the test's own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sched::agent::runtime::contract::{Subject, keep};
use sched::agent::runtime::docker::{Docker, Settings};
use sched::agent::runtime::{ContainerSpec, PodRef, Runtime, SandboxSpec, State};
use testkit::{busybox_archive, eventually, processes, require, skipped};

const STARTS_S_MAX: u64 = 60;
const IMAGE: &str = "busybox:test";
/// How long anything here may take on a busy machine.
const SOON_S: u64 = 60;

/// An engine with a socket and a directory of its own; stopped, with what it runs, at the end.
struct Engine {
    process: Child,
    /// Of its network, which the engine leaves behind.
    bridge: String,
    directory: tempfile::TempDir,
}

impl Engine {
    /// `None`: this machine does not permit one; says so.
    fn start(test: &str, bridge: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped(test, "a Docker engine needs root");
            return None;
        }
        require("dockerd", "docker.io");
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        let log = std::fs::File::create(path("log")).unwrap();
        let process = Command::new("dockerd")
            .args(["--host", &format!("unix://{}", path("sock")), "--data-root", &path("data")])
            .args(["--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .args(["--bridge", "none", "--iptables=false", "--ip-masq=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let engine = Self { process, bridge: bridge.to_owned(), directory };
        for _ in 0..STARTS_S_MAX * 10 {
            if engine.docker(&["version"]) {
                return Some(engine);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(engine.path("log")).unwrap_or_default();
        panic!("dockerd does not answer ({bridge}):\n{log}");
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn docker(&self, args: &[&str]) -> bool {
        let host = format!("unix://{}", self.path("sock").display());
        let mut command = Command::new("docker");
        command.args(["--host", &host]).args(args).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn load_busybox(&self) {
        let archive = busybox_archive(self.directory.path(), IMAGE);
        assert!(self.docker(&["load", "--input", &archive.to_string_lossy()]));
    }

    fn settings(&self) -> Settings {
        Settings {
            socket: self.path("sock"),
            network: self.bridge.clone(),
            program: Path::new(env!("CARGO_BIN_EXE_berth")).to_owned(),
            directory: self.path("agent"),
        }
    }

    /// The processes that guard what runs in it.
    fn guards(&self) -> Vec<u32> {
        let words = format!("container guard {} ", self.path("agent").display());
        processes(|line| line.contains(&words))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for pid in self.guards() {
            let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let id = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.process.wait();
        testkit::remove_bridge(&self.bridge);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_keeps_the_contract() {
    // Proves the whole contract with the containers of a real Docker engine.
    let bridge = "bertht1";
    let Some(engine) = Engine::start("docker_keeps_the_contract", bridge) else { return };
    engine.load_busybox();
    let settings = engine.settings();
    let open = move || {
        let connecting = Docker::connect(settings.clone());
        let docker = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(connecting).unwrap()
        });
        Arc::new(docker) as Arc<dyn Runtime>
    };
    let cidr = "10.231.8.0/24".parse().unwrap();
    keep(&Subject { image: IMAGE.into(), cidr, open: Box::new(open) }).await;
    assert!(engine.docker(&["network", "rm", bridge]), "no container is left in it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fenced_in_docker_ends_when_nobody_renews_and_not_before() {
    // Proves that a container which does not listen goes on while its time is renewed, by one agent
    // after another, and is killed when that stops; that one which nobody would start elsewhere goes
    // on; that the guard of the next agent takes the place of the one before; and that it ends by
    // itself once no pod is left that is fenced.
    let test = "what_is_fenced_in_docker_ends_when_nobody_renews_and_not_before";
    let bridge = "bertht7";
    let Some(engine) = Engine::start(test, bridge) else { return };
    engine.load_busybox();
    let docker = Docker::connect(engine.settings()).await.unwrap();
    let cidr = "10.231.10.0/24".parse().unwrap();
    docker.set_pod_cidr(&cidr, &cidr).await.unwrap();
    let (first, second) = (in_seconds(8), in_seconds(14));
    docker.set_fence(first).await.unwrap();
    let guards = engine.guards();
    assert_eq!(guards.len(), 1, "{guards:?}");
    for (name, is_fenced) in [("fenced", true), ("free", false)] {
        start(&docker, name, is_fenced).await;
    }
    drop(docker);

    let next = Docker::connect(engine.settings()).await.unwrap();
    next.set_fence(second).await.unwrap();
    let is_in_time = now() < first;
    next.set_fence(first).await.unwrap();
    let newer = engine.guards();
    assert!(newer.len() == 1 && newer != guards, "{guards:?}, {newer:?}");
    drop(next);

    let looker = Docker::connect(engine.settings()).await.unwrap();
    eventually("what is fenced has ended", SOON_S, async || {
        if runs(&looker, "fenced").await { Err("it runs".to_owned()) } else { Ok(()) }
    })
    .await;
    assert!(now() >= second || !is_in_time, "it ended before its time");
    assert!(runs(&looker, "free").await, "nobody else would start it");
    assert_eq!(engine.guards(), newer, "something may still begin");
    for name in ["fenced", "free"] {
        looker.remove_pod(name).await.unwrap();
    }
    eventually("the guard has ended", SOON_S, async || match &engine.guards()[..] {
        [] => Ok(()),
        several => Err(format!("{several:?}")),
    })
    .await;
}

/// Since the machine booted.
fn now() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.try_into().unwrap())
}

fn in_seconds(seconds: u64) -> Duration {
    now() + Duration::from_secs(seconds)
}

/// A pod of this name and uid; its container is deaf to requests to end.
async fn start(docker: &Docker, name: &str, is_fenced: bool) {
    let pod = PodRef { namespace: "default".into(), name: name.into(), uid: name.into() };
    let sandbox = SandboxSpec { pod: pod.clone(), hostname: name.into(), host_network: false };
    docker.start_sandbox(&sandbox).await.unwrap();
    docker.set_fenced(name, is_fenced).await.unwrap();
    let spec = ContainerSpec {
        pod,
        name: "main".into(),
        image: IMAGE.into(),
        command: ["/bin/busybox", "sleep", "3600"].map(str::to_owned).into(),
        log_bytes_max: 1 << 20,
        log_files_max: 1,
        ..ContainerSpec::default()
    };
    docker.start_container(&spec).await.unwrap();
}

async fn runs(docker: &Docker, uid: &str) -> bool {
    let sandbox = docker.observe(uid).await.unwrap().unwrap();
    let [container] = &sandbox.containers[..] else { panic!("{sandbox:?}") };
    matches!(container.state, State::Running { .. })
}
