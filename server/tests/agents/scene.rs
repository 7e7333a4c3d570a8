//! A store, an agent on this machine, and pods.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use sched::kv::Store;
use sched::kv::grpc::{Endpoint, GrpcKv};
use sched::objects::{Delete, Kind, Objects};
use serde_json::{Value, json};
use testkit::{Script, Server, busybox_archive, free_port, require, skipped, subject};
use tokio::process::Child;

use crate::remains;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
pub(crate) const IMAGE: &str = "busybox:test";

pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) objects: Objects,
    pub(crate) port: u16,
    agent: Option<Child>,
    directory: tempfile::TempDir,
    bridge: &'static str,
    flags: Vec<String>,
}

pub(crate) fn store(name: String) -> Store {
    let target = tonic::transport::Endpoint::from_shared(name.clone()).unwrap();
    let endpoint = Endpoint::new(name, move || target.connect_lazy());
    Arc::new(GrpcKv::new(vec![endpoint], None).unwrap())
}

impl Scene {
    /// A store and an agent with the image that is run; `None`: not on this machine, and says so.
    pub(crate) async fn start(test: &str, bridge: &'static str, flags: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped(test, "containers need root");
            return None;
        }
        require("runc", "runc");
        let server = Server::start(subject!(), &[]).await;
        let directory = tempfile::tempdir().unwrap();
        let objects = Objects::new(store(server.endpoint()));
        let flags = flags.iter().map(ToString::to_string).collect();
        let port = free_port();
        let mut scene = Self { server, objects, port, agent: None, directory, bridge, flags };
        let archive = busybox_archive(scene.directory.path(), IMAGE);
        let root = scene.root().to_string_lossy().into_owned();
        let args = ["image", "import", "--root", &root, &archive.to_string_lossy()];
        let imported = Script::new(Path::new(env!("CARGO_BIN_EXE_berth")), &args).run().await;
        assert_eq!(imported.stdout, format!("docker.io/library/{IMAGE}\n"), "{imported:?}");
        scene.start_agent();
        Some(scene)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub(crate) fn start_agent(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("agent.log"))
            .unwrap();
        let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_berth"))
            .args(["agent", "--join", &self.server.endpoint(), "--node", "n1", "--runtime", "runc"])
            .args(["--bridge", self.bridge, "--port", &self.port.to_string(), "--no-proxy"])
            .args(["--restart-backoff", "500ms", "--root"])
            .arg(self.root())
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        self.agent = Some(child);
    }

    /// As a crash would: nothing is told, nothing cleaned up.
    pub(crate) async fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().await.unwrap();
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("agent.log")).unwrap_or_default()
    }

    pub(crate) async fn create<T: Kind>(&self, object: Value) {
        let object: T = serde_json::from_value(object).unwrap();
        self.objects.create(&object).await.unwrap();
    }

    /// A pod on the node, with what `spec` says in place of what is usual.
    pub(crate) async fn pod(&self, name: &str, spec: Value) {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 1},
        });
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        self.create::<Pod>(pod).await;
    }

    pub(crate) async fn get(&self, name: &str) -> Option<Pod> {
        self.objects.get::<Pod>(Some("default"), name).await.unwrap().map(|stored| stored.object)
    }

    /// Waits until a pod is as it should be.
    pub(crate) async fn until(&self, name: &str, what: impl Fn(&Pod) -> bool) -> Pod {
        let waiting = async {
            loop {
                if let Some(pod) = self.get(name).await.filter(|pod| what(pod)) {
                    return pod;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(pod) => pod,
            Err(_) => {
                let status = self.get(name).await.map(|pod| pod.status);
                panic!("{name}: {status:#?}\nagent:\n{}", self.log())
            }
        }
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.objects.delete::<Pod>(Some("default"), name, &Delete::default()).await.unwrap();
        let gone = async {
            while self.get(name).await.is_some() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let gone = tokio::time::timeout(PATIENCE, gone).await;
        assert!(gone.is_ok(), "{name} stays\nagent:\n{}", self.log());
    }

    async fn token(&self) -> String {
        let key = "/registry/berth/agents/n1".into();
        let request = api::etcdserverpb::RangeRequest { key, ..Default::default() };
        let found = self.objects.store().range(request).await.unwrap();
        let value: Value = serde_json::from_slice(&found.kvs[0].value).unwrap();
        format!("Bearer {}", value["token"].as_str().unwrap())
    }

    /// A request to the agent's own server.
    pub(crate) async fn request(&self, path: &str) -> http::Request<()> {
        http::Request::builder()
            .uri(format!("ws://127.0.0.1:{}{path}", self.port))
            .header("host", "127.0.0.1")
            .header("authorization", self.token().await)
            .body(())
            .unwrap()
    }

    /// A page of the agent's own server, and its status.
    pub(crate) async fn page(&self, path: &str, token: Option<&str>) -> (String, String) {
        let own = self.token().await;
        let header = format!("authorization: {}", token.unwrap_or(&own));
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let args = ["--silent", "--write-out", "\n%{http_code}", "--header", &header, &url];
        let curl = require("curl", "curl");
        let said = Script::new(&curl, &args).run().await.stdout;
        let (body, code) = said.rsplit_once('\n').unwrap();
        (body.to_owned(), code.to_owned())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Containers outlive the agent, which is the point; here they must not outlive the test.
        drop(self.agent.take());
        remains::end_all(&self.root());
        testkit::remove_bridge(self.bridge);
    }
}

/// A container of the image that runs a script.
pub(crate) fn container(script: &str) -> Value {
    json!({"name": "main", "image": IMAGE, "command": ["sh", "-c", script]})
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    let ready = conditions.unwrap_or_default().iter().find(|one| one.type_ == "Ready");
    ready.is_some_and(|ready| ready.status == "True")
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// The first container's status.
pub(crate) fn first(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

/// Why its first container waits.
pub(crate) fn waits(pod: &Pod) -> Option<&str> {
    first(pod)?.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

/// Why its first container ended, the last time or the time before.
pub(crate) fn ended(pod: &Pod) -> Option<&str> {
    let status = first(pod)?;
    let end = |state: &'_ Option<k8s_openapi::api::core::v1::ContainerState>| {
        state.as_ref().and_then(|state| state.terminated.as_ref()).is_some()
    };
    let state = if end(&status.state) { &status.state } else { &status.last_state };
    state.as_ref()?.terminated.as_ref()?.reason.as_deref()
}
