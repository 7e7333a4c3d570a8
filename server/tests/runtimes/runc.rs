//! `runc` and `crun`, without a daemon.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sched::agent::images::Images;
use sched::agent::runtime::contract::{Subject, keep};
use sched::agent::runtime::runc::{Runc, Settings};
use sched::agent::runtime::{ContainerSpec, Exit, Limits, PodRef, Runtime, SandboxSpec, State};
use testkit::{Layout, busybox_archive, cpu_part, eventually, processes, require, skipped};

pub(crate) const IMAGE: &str = "docker.io/library/busybox:test";
/// Machines whose control groups are of both versions at once have the second here.
const UNIFIED: &str = "/sys/fs/cgroup/unified";
/// Old crun refuses such a machine. It sees none with the second version out of its sight.
const WITHOUT_UNIFIED: &str = "#!/bin/sh\nexec unshare --mount -- \
    sh -c 'umount /sys/fs/cgroup/unified && exec \"$0\" \"$@\"' ";
/// How long anything here may take on a busy machine.
const SOON_S: u64 = 60;

/// Taken down at the end, whatever happens before.
struct Bridge(&'static str);

impl Drop for Bridge {
    fn drop(&mut self) {
        testkit::remove_bridge(self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runc_keeps_the_contract() {
    // Proves the whole contract for containers without a daemon: images from an archive, exit
    // codes, logs, stopping, processes that go on without the agent, adoption, what is refused.
    let runc = |_: &Path| require("runc", "runc");
    let archive = |directory: &Path| busybox_archive(directory, "busybox:test");
    keeps("runc", runc, archive, "bertht0", "10.231.7.0/24").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crun_keeps_the_contract() {
    // Proves the same with the other OCI runtime, and an image from an archive in OCI layout.
    let layout = Layout::new(Some("busybox:test"));
    keeps("crun", crun, |_| layout.archive(), "bertht5", "10.231.6.0/24").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_cannot_be_made_leaves_no_pause_process() {
    // Proves that a pod whose making fails, or ends with its agent, between its pause process and its
    // address has one such process at most, however often it is tried, and none once it is removed.
    let test = "a_pod_that_cannot_be_made_leaves_no_pause_process";
    if !rustix::process::geteuid().is_root() {
        return skipped(test, "containers need root");
    }
    let bridge = Bridge("bertht6");
    let directory = tempfile::tempdir().unwrap();
    let program = require("runc", "runc");
    let runtime = Runc::open(settings(directory.path().join("runc"), program, &bridge)).unwrap();
    // The node's own address, and that of one pod.
    let cidr = "10.231.9.0/30".parse().unwrap();
    runtime.set_pod_cidr(&cidr, &cidr).await.unwrap();
    let [first, second] = ["first", "second"].map(Pod::new);
    runtime.start_sandbox(&first.0).await.unwrap();
    assert_eq!(first.pauses().len(), 1);
    for _ in 0..3 {
        let error = runtime.start_sandbox(&second.0).await.unwrap_err();
        assert!(error.message.contains("no address is left"), "{error}");
    }
    eventually("at most one is left", SOON_S, async || match second.pauses() {
        several if several.len() > 1 => Err(format!("{several:?}")),
        _ => Ok(()),
    })
    .await;
    for pod in [&first, &second] {
        runtime.remove_pod(&pod.0.pod.uid).await.unwrap();
        eventually("none is left", SOON_S, async || match &pod.pauses()[..] {
            [] => Ok(()),
            several => Err(format!("{several:?}")),
        })
        .await;
    }
    // Its address is free for others.
    runtime.start_sandbox(&second.0).await.unwrap();
    runtime.remove_pod(&second.0.pod.uid).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_the_kernels() {
    // Proves that the kernel is told how much of the processors a container may have, that one that
    // takes more memory than it may is ended for that, and that this is told from an end of its own.
    let test = "limits_are_the_kernels";
    if !rustix::process::geteuid().is_root() {
        return skipped(test, "containers need root");
    }
    let bridge = Bridge("bertht8");
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("runc");
    let archive = busybox_archive(directory.path(), "busybox:test");
    Images::open(&root.join("images")).unwrap().import(&archive, None).unwrap();
    let runtime = Runc::open(settings(root, require("runc", "runc"), &bridge)).unwrap();
    let cidr = "10.231.20.0/24".parse().unwrap();
    runtime.set_pod_cidr(&cidr, &cidr).await.unwrap();
    let pod = Pod::new("limits");
    let uid = &pod.0.pod.uid;
    runtime.start_sandbox(&pod.0).await.unwrap();
    let start = async |name: &str, script: &str, limits: Limits| {
        let spec = ContainerSpec {
            pod: pod.0.pod.clone(),
            name: name.into(),
            image: "busybox:test".into(),
            command: ["/bin/busybox", "sh", "-c", script].map(str::to_owned).into(),
            hostname: pod.0.hostname.clone(),
            limits,
            ..ContainerSpec::default()
        };
        runtime.start_container(&spec).await.unwrap()
    };
    let ended = async |id: &str| {
        eventually("it ends", SOON_S, async || {
            let seen = runtime.observe(uid).await.unwrap().unwrap();
            let state = seen.containers.into_iter().find(|one| one.id == id).unwrap().state;
            match state {
                State::Exited { reason, .. } => Ok(reason),
                State::Running { .. } => Err("it runs".to_owned()),
            }
        })
        .await
    };
    let quarter = Limits { cpu_millis: Some(250), ..Limits::default() };
    start("slow", "sleep 600", quarter).await;
    assert_eq!(cpu_part(uid, "slow_0"), Some(0.25));
    let free = start("free", "sleep 600", Limits::default()).await;
    assert_eq!(cpu_part(uid, "free_0"), None);
    let seen = runtime.observe(uid).await.unwrap().unwrap().containers;
    let free = seen.iter().find(|one| one.id == free).unwrap();
    assert!(matches!(free.state, State::Running { .. }), "{free:?}");
    let little = Limits { memory_bytes: Some(16 << 20), ..Limits::default() };
    let hungry = start("hungry", "x=a; while true; do x=$x$x; done", little).await;
    assert_eq!(ended(&hungry).await, Exit::OutOfMemory);
    let modest = start("modest", "exit 137", little).await;
    assert_eq!(ended(&modest).await, Exit::Ended);
    runtime.remove_pod(uid).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_being_started_does_not_run_yet() {
    // Proves that a container is not said to run while the OCI runtime is still at it, that an agent
    // that finds it so waits for it and starts no other, and that a pod that is removed meanwhile
    // leaves nothing behind.
    let test = "a_container_that_is_being_started_does_not_run_yet";
    if !rustix::process::geteuid().is_root() {
        return skipped(test, "containers need root");
    }
    let bridge = Bridge("bertht9");
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("runc");
    let archive = busybox_archive(directory.path(), "busybox:test");
    Images::open(&root.join("images")).unwrap().import(&archive, None).unwrap();
    let hesitant = Hesitant::new(directory.path());
    let settings = settings(root, hesitant.program.clone(), &bridge);
    let open = || Arc::new(Runc::open(settings.clone()).unwrap());
    let agent = open();
    let cidr = "10.231.21.0/24".parse().unwrap();
    agent.set_pod_cidr(&cidr, &cidr).await.unwrap();
    let pod = Pod::new("hesitant");
    let uid = &pod.0.pod.uid;
    agent.start_sandbox(&pod.0).await.unwrap();
    let spec = |name: &str| ContainerSpec {
        pod: pod.0.pod.clone(),
        name: name.into(),
        image: "busybox:test".into(),
        command: ["/bin/busybox", "sh", "-c", &format!("sleep 600; : {uid}")]
            .map(str::to_owned)
            .into(),
        hostname: pod.0.hostname.clone(),
        ..ContainerSpec::default()
    };
    // An agent that dies while it waits for the container, and the next one.
    let begin = async |name: &str| {
        let (agent, spec) = (open(), spec(name));
        let starting = tokio::spawn(async move { agent.start_container(&spec).await });
        hesitant.is_asked().await;
        starting.abort();
        open()
    };
    let states = async |agent: &Runc| -> Vec<State> {
        let seen = agent.observe(uid).await.unwrap().unwrap().containers;
        seen.into_iter().map(|container| container.state).collect()
    };

    let next = begin("first").await;
    assert_eq!(states(&next).await, [], "it does not run yet");
    let adopting = {
        let (next, spec) = (next.clone(), spec("first"));
        tokio::spawn(async move { next.start_container(&spec).await })
    };
    hesitant.goes_on();
    adopting.await.unwrap().unwrap();
    assert!(matches!(states(&next).await[..], [State::Running { .. }]));
    assert_eq!(hesitant.asked(), 1, "no other was started");

    let next = begin("second").await;
    let removing = {
        let (next, uid) = (next.clone(), uid.clone());
        tokio::spawn(async move { next.remove_pod(&uid).await })
    };
    eventually("the first one is gone", SOON_S, async || match states(&next).await[..] {
        [] => Ok(()),
        [..] => Err("it is there".to_owned()),
    })
    .await;
    hesitant.goes_on();
    removing.await.unwrap().unwrap();
    assert_eq!(next.observe(uid).await.unwrap(), None);
    assert_eq!(hesitant.asked(), 2);
    eventually("nothing runs unseen", SOON_S, async || {
        match processes(|line| line.contains(uid)) {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_process_that_nobody_keeps_ends() {
    // Proves that one whose starter ends before it is written down is not left behind, and that one
    // which is kept outlives its starter.
    if !rustix::process::geteuid().is_root() {
        return skipped("a_pause_process_that_nobody_keeps_ends", "host names need root");
    }
    for is_kept in [false, true] {
        let mut child = std::process::Command::new("unshare")
            .args(["--uts", "--", env!("CARGO_BIN_EXE_berth"), "container", "pause", "nobody"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut said, &mut line).unwrap();
        assert_eq!(line, "runs\n");
        let mut waiting = child.stdin.take().unwrap();
        if is_kept {
            std::io::Write::write_all(&mut waiting, b"\n").unwrap();
        }
        drop((waiting, said));
        if is_kept {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            assert_eq!(child.try_wait().unwrap(), None);
            child.kill().unwrap();
        }
        child.wait().unwrap();
    }
}

/// An OCI runtime that runs containers when it is told to.
struct Hesitant {
    program: PathBuf,
    directory: PathBuf,
}

impl Hesitant {
    fn new(directory: &Path) -> Self {
        let directory = directory.join("hesitant");
        std::fs::create_dir(&directory).unwrap();
        let program = directory.join("runc");
        let place = directory.display();
        let script = format!(
            "case \"$*\" in *' run --detach '*)\n\
             echo >> {place}/asked\n\
             until rm {place}/go; do sleep 0.05; [ -d {place} ] || exit 1; done;;\nesac\n\
             exec {} \"$@\"\n",
            require("runc", "runc").display()
        );
        executable(&program, &format!("#!/bin/sh\n{script}"));
        Self { program, directory }
    }

    /// How often it was told to run one.
    fn asked(&self) -> usize {
        let lines = std::fs::read_to_string(self.directory.join("asked"));
        lines.map_or(0, |lines| lines.lines().count())
    }

    async fn is_asked(&self) {
        let before = self.asked();
        eventually("the OCI runtime is asked", SOON_S, async || match self.asked() {
            now if now > before => Ok(()),
            now => Err(format!("{now} times")),
        })
        .await;
    }

    fn goes_on(&self) {
        std::fs::write(self.directory.join("go"), "").unwrap();
    }
}

/// A pod that no other test has; what holds it ends with the test, whatever happens before.
struct Pod(SandboxSpec);

impl Pod {
    fn new(name: &str) -> Self {
        let uid = format!("{name}-{:08x}", rand::random::<u32>());
        let pod = PodRef { namespace: "default".into(), name: name.into(), uid: uid.clone() };
        Self(SandboxSpec { pod, hostname: uid, host_network: false })
    }

    /// The processes that hold what it shares.
    fn pauses(&self) -> Vec<u32> {
        let words = format!("container pause {} ", self.0.hostname);
        processes(|line| line.ends_with(&words))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        for pid in self.pauses() {
            let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

async fn keeps(
    name: &'static str,
    program: impl Fn(&Path) -> PathBuf,
    archive: impl Fn(&Path) -> PathBuf,
    bridge: &'static str,
    cidr: &str,
) {
    if !rustix::process::geteuid().is_root() {
        return skipped(&format!("{name}_keeps_the_contract"), "containers need root");
    }
    let bridge = Bridge(bridge);
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("runc");
    let archive = archive(directory.path());
    let imported = Images::open(&root.join("images")).unwrap().import(&archive, None).unwrap();
    assert_eq!(imported[0].to_string(), IMAGE);
    let settings = settings(root.clone(), program(directory.path()), &bridge);
    let open = move || {
        let runtime = Runc::open(settings.clone()).unwrap();
        assert_eq!(runtime.name(), name);
        Arc::new(runtime) as Arc<dyn Runtime>
    };
    let cidr = cidr.parse().unwrap();
    keep(&Subject { image: "busybox:test".into(), cidr, open: Box::new(open) }).await;
    let left = std::fs::read_dir(root.join("pods")).unwrap().count();
    let addresses = std::fs::read_dir(root.join("addresses")).unwrap().count();
    assert_eq!((left, addresses), (0, 0), "nothing is left of pods");
}

fn settings(root: PathBuf, program: PathBuf, bridge: &Bridge) -> Settings {
    let helper = vec![env!("CARGO_BIN_EXE_berth").into(), "container".into()];
    Settings { root, program, helper, bridge: bridge.0.into(), registries: Default::default() }
}

/// As it is, or on a machine that it refuses, with what it would do without.
fn crun(directory: &Path) -> PathBuf {
    let crun = require("crun", "crun");
    if !Path::new(UNIFIED).exists() {
        return crun;
    }
    let script = directory.join("crun");
    executable(&script, &format!("{WITHOUT_UNIFIED}{} \"$@\"\n", crun.display()));
    script
}

fn executable(path: &Path, script: &str) {
    std::fs::write(path, script).unwrap();
    let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, runs).unwrap();
}
