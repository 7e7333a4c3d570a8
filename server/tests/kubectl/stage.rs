//! A server with everything on it, and kubectl.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use testkit::{Finished, Script, Server, eventually, require};

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
    _server: Server,
    home: TempDir,
    kubectl: PathBuf,
    api: String,
}

impl Stage {
    /// Starts a server and waits until its API answers and its node is ready.
    pub(crate) async fn start() -> Self {
        let stage = Self::start_with("all").await;
        eventually("a node is ready", 30, async || {
            let nodes = stage.run(&["get", "nodes"]).await;
            if nodes.stdout.contains(" Ready ") { Ok(()) } else { Err(format!("{nodes:?}")) }
        })
        .await;
        stage
    }

    /// The same with as much of the orchestrator as is named.
    pub(crate) async fn start_with(extent: &str) -> Self {
        let home = TempDir::new().expect("a temporary directory");
        let port = testkit::free_port();
        let root = home.path().join("agent").display().to_string();
        let flags = [
            format!("--orchestrator={extent}"),
            format!("--api-listen=127.0.0.1:{port}"),
            "--agent-runtime=fake".to_owned(),
            format!("--agent-root={root}"),
        ];
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let server = Server::start(testkit::subject!(), &flags).await;
        let kubectl = require("kubectl", "kubernetes-client");
        let stage =
            Self { _server: server, home, kubectl, api: format!("http://127.0.0.1:{port}") };
        eventually("the API answers", 30, async || {
            let found = stage.run(&["get", "namespace", "default"]).await;
            if found.code == Some(0) { Ok(()) } else { Err(found.stderr) }
        })
        .await;
        stage
    }

    fn script(&self, arguments: &[&str]) -> Script {
        let all: Vec<&str> =
            ["--server", &self.api].into_iter().chain(arguments.iter().copied()).collect();
        let home = self.home.path().display().to_string();
        // What is on this machine for other clusters is none of its business.
        Script::new(&self.kubectl, &all).env("HOME", &home).env("KUBECONFIG", "/dev/null")
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Finished {
        self.script(arguments).run().await
    }

    /// What it prints; it must succeed.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        let Finished { code, stdout, stderr } = self.run(arguments).await;
        assert_eq!(code, Some(0), "kubectl {arguments:?}: {stdout}{stderr}");
        stdout
    }

    /// The same with a file on its standard input.
    pub(crate) async fn ok_with(&self, arguments: &[&str], file: &str) -> String {
        let Finished { code, stdout, stderr } = self.script(arguments).stdin(file).run().await;
        assert_eq!(code, Some(0), "kubectl {arguments:?}: {stdout}{stderr}");
        stdout
    }

    /// What it complains of; it must fail.
    pub(crate) async fn fails_with(&self, arguments: &[&str], file: &str) -> String {
        let Finished { code, stdout, stderr } = self.script(arguments).stdin(file).run().await;
        assert_ne!(code, Some(0), "kubectl {arguments:?} should fail: {stdout}");
        stderr
    }

    /// Runs a command that never ends by itself until it has printed `text`.
    pub(crate) async fn until(&self, arguments: &[&str], text: &str) -> String {
        self.script(arguments).until(text).run().await.stdout
    }

    /// Waits until a command prints `text`.
    pub(crate) async fn shows(&self, arguments: &[&str], text: &str) {
        eventually(&format!("kubectl {arguments:?} shows {text:?}"), 30, async || {
            let Finished { stdout, stderr, .. } = self.run(arguments).await;
            if stdout.contains(text) { Ok(()) } else { Err(format!("{stdout}{stderr}")) }
        })
        .await;
    }
}

/// A fixture of the seeds.
pub(crate) fn seed(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sched/testdata");
    folder.join(format!("seed-{name}.yaml")).display().to_string()
}
