//! A store with everything on it, and kubectl.
//!
//! In berth the orchestrator runs in the store's own process. In front of the real etcd
//! (`BERTH_TEST_SUBJECT=etcd`) stand `berth control` and `berth agent`, as they would for users.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Finished, Kind, Script, Server, eventually, require, subject};
use tokio::process::{Child, Command};

use crate::callers::Door;

/// What anything may take on a busy machine.
pub(crate) const SOON_S: u64 = 60;

/// A deployment of pods that do nothing.
pub(crate) const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
";

pub(crate) struct Stage {
    pub(crate) server: Server,
    /// What runs beside etcd; ends when it is dropped.
    _beside: Vec<Child>,
    home: TempDir,
    kubectl: PathBuf,
    /// The API's address: `http://127.0.0.1:PORT`, or with `https`.
    pub(crate) api: String,
    /// How kubectl says who it is.
    caller: Vec<String>,
}

impl Stage {
    /// Starts a server and waits until its API answers and its node is ready.
    pub(crate) async fn start() -> Self {
        let stage = Self::start_with("all").await;
        eventually("a node is ready", SOON_S, async || {
            let nodes = stage.run(&["get", "nodes"]).await;
            if nodes.stdout.contains(" Ready ") { Ok(()) } else { Err(format!("{nodes:?}")) }
        })
        .await;
        stage
    }

    /// The same with as much of the orchestrator as is named.
    pub(crate) async fn start_with(extent: &str) -> Self {
        Self::start_with_flags(extent, &[]).await
    }

    /// The same with more flags of the orchestrator.
    pub(crate) async fn start_with_flags(extent: &str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(ToString::to_string).collect();
        let door = Door { flags, ..Door::default() };
        Self::open(extent, TempDir::new().expect("a temporary directory"), &door).await
    }

    /// The same with a door of its own; `home` has the files of the door.
    pub(crate) async fn open(extent: &str, home: TempDir, door: &Door) -> Self {
        let subject = subject!();
        // Any port: one that was looked for before could be taken meanwhile.
        let mut flags = vec!["--api-listen=127.0.0.1:0".to_owned()];
        flags.extend(door.flags.iter().cloned());
        let (server, beside, log) = match subject.kind {
            Kind::Berth => {
                flags.push(format!("--orchestrator={extent}"));
                flags.push("--agent-runtime=fake".to_owned());
                flags.push(format!("--agent-root={}", home.path().join("agent").display()));
                let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
                let server = Server::start(subject, &flags).await;
                let log = server.log_file();
                (server, Vec::new(), log)
            }
            Kind::Etcd => {
                let server = Server::start(subject, &[]).await;
                let (beside, log) = beside(&server, extent, home.path(), &flags);
                (server, beside, log)
            }
        };
        let api = eventually("the API's address is logged", SOON_S, async || {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            log.lines().find_map(address).ok_or(log)
        })
        .await;
        let kubectl = require("kubectl", "kubernetes-client");
        let caller = door.caller.clone();
        let stage = Self { server, _beside: beside, home, kubectl, api, caller };
        eventually("the API answers", SOON_S, async || {
            let found = stage.run(&["get", "namespace", "default"]).await;
            if found.code == Some(0) { Ok(()) } else { Err(found.stderr) }
        })
        .await;
        stage
    }

    fn script(&self, arguments: &[&str]) -> Script {
        let caller: Vec<&str> = self.caller.iter().map(String::as_str).collect();
        self.script_as(&caller, arguments)
    }

    fn script_as(&self, caller: &[&str], arguments: &[&str]) -> Script {
        self.script_by(&self.kubectl, caller, arguments)
    }

    fn script_by(&self, kubectl: &Path, caller: &[&str], arguments: &[&str]) -> Script {
        let server = ["--server", &self.api];
        let all: Vec<&str> =
            server.into_iter().chain(caller.iter().chain(arguments).copied()).collect();
        let home = self.home.path().display().to_string();
        // What is on this machine for other clusters is none of its business.
        Script::new(kubectl, &all).env("HOME", &home).env("KUBECONFIG", "/dev/null")
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Finished {
        self.script(arguments).run().await
    }

    /// The same with somebody at the keyboard whose editor is this command.
    pub(crate) async fn run_with_editor(&self, editor: &str, arguments: &[&str]) -> Finished {
        self.script(arguments).env("KUBE_EDITOR", editor).run().await
    }

    /// The same as somebody else, who is named by these arguments.
    pub(crate) async fn run_as(&self, caller: &[&str], arguments: &[&str]) -> Finished {
        self.script_as(caller, arguments).run().await
    }

    /// The same with a file on its standard input.
    pub(crate) async fn run_with(&self, arguments: &[&str], file: &str) -> Finished {
        self.script(arguments).stdin(file).run().await
    }

    /// The same with another kubectl and a file on its standard input.
    pub(crate) async fn run_by(&self, kubectl: &Path, arguments: &[&str], file: &str) -> Finished {
        let caller: Vec<&str> = self.caller.iter().map(String::as_str).collect();
        self.script_by(kubectl, &caller, arguments).stdin(file).run().await
    }

    /// What it prints; it must succeed.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        let Finished { code, stdout, stderr } = self.run(arguments).await;
        assert_eq!(code, Some(0), "kubectl {arguments:?}: {stdout}{stderr}");
        stdout
    }

    /// The same with a file on its standard input.
    pub(crate) async fn ok_with(&self, arguments: &[&str], file: &str) -> String {
        let Finished { code, stdout, stderr } = self.run_with(arguments, file).await;
        assert_eq!(code, Some(0), "kubectl {arguments:?}: {stdout}{stderr}");
        stdout
    }

    /// Replaces what a file names. kubectl looks at it first: when somebody changes it in between, as
    /// controllers do, that is a conflict, and it is tried again.
    pub(crate) async fn replaces(&self, file: &str) {
        let command = ["replace", "-f", "-", "--validate=false"];
        eventually("kubectl replaces without a conflict", SOON_S, async || {
            let said = self.run_with(&command, file).await;
            assert!(said.code == Some(0) || said.stderr.contains("(Conflict)"), "{said:?}");
            if said.code == Some(0) { Ok(()) } else { Err(said.stderr) }
        })
        .await;
    }

    /// What it complains of; it must fail.
    pub(crate) async fn fails_with(&self, arguments: &[&str], file: &str) -> String {
        let Finished { code, stdout, stderr } = self.run_with(arguments, file).await;
        assert_ne!(code, Some(0), "kubectl {arguments:?} should fail: {stdout}");
        stderr
    }

    /// Runs a command that never ends by itself until it has printed `text`.
    pub(crate) async fn until(&self, arguments: &[&str], text: &str) -> String {
        self.script(arguments).until(text).run().await.stdout
    }

    /// Waits until a command prints `text`.
    pub(crate) async fn shows(&self, arguments: &[&str], text: &str) {
        eventually(&format!("kubectl {arguments:?} shows {text:?}"), SOON_S, async || {
            let Finished { stdout, stderr, .. } = self.run(arguments).await;
            if stdout.contains(text) { Ok(()) } else { Err(format!("{stdout}{stderr}")) }
        })
        .await;
    }
}

/// What serves the API for a store that is not berth, and where its log is.
fn beside(server: &Server, extent: &str, home: &Path, flags: &[String]) -> (Vec<Child>, PathBuf) {
    let start = |name: &str, arguments: &[String]| {
        let log = home.join(format!("{name}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args([name, "--join", &server.endpoint()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("a log"))
            .kill_on_drop(true)
            .spawn()
            .expect("berth starts");
        (child, log)
    };
    let (control, log) = start("control", flags);
    let mut all = vec![control];
    if extent == "all" {
        let root = format!("--root={}", home.join("agent").display());
        let flags = ["--runtime=fake", "--address=127.0.0.1", "--port=0", "--no-proxy", &root];
        all.push(start("agent", &flags.map(str::to_owned)).0);
    }
    (all, log)
}

/// What a line of the log says of the API's address.
fn address(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let is_it = line["msg"].as_str()?.contains("the Kubernetes API is served");
    line["address"].as_str().filter(|_| is_it).map(str::to_owned)
}

/// A fixture of the seeds.
pub(crate) fn seed(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sched/testdata");
    folder.join(format!("seed-{name}.yaml")).display().to_string()
}
