//! A Docker engine of the test's own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sched::agent::runtime::Runtime;
use sched::agent::runtime::contract::{Subject, keep};
use sched::agent::runtime::docker::{Docker, Settings};
use testkit::{busybox_archive, require, skipped};

const STARTS_S_MAX: u64 = 60;

/// An engine with a socket and a directory of its own; stopped, with what it runs, at the end.
struct Engine {
    process: Child,
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
        let engine = Self { process, directory };
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
}

impl Drop for Engine {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_keeps_the_contract() {
    // Proves the whole contract with the containers of a real Docker engine.
    let bridge = "bertht1";
    let Some(engine) = Engine::start("docker_keeps_the_contract", bridge) else { return };
    let archive = busybox_archive(engine.directory.path(), "busybox:test");
    assert!(engine.docker(&["load", "--input", &archive.to_string_lossy()]));
    let settings = Settings {
        socket: engine.path("sock"),
        network: bridge.into(),
        program: Path::new(env!("CARGO_BIN_EXE_berth")).to_owned(),
    };
    let open = move || {
        let connecting = Docker::connect(settings.clone());
        let docker = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(connecting).unwrap()
        });
        Arc::new(docker) as Arc<dyn Runtime>
    };
    let cidr = "10.231.8.0/24".parse().unwrap();
    keep(&Subject { image: "busybox:test".into(), cidr, open: Box::new(open) }).await;
    assert!(engine.docker(&["network", "rm", bridge]), "no container is left in it");
}
