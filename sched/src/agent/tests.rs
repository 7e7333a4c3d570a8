//! A whole agent on a real etcd, with pretended containers.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::runtime::Runtime;
use super::runtime::fake::{Fake, Latency};
use super::{Settings, run};
use crate::kv::testing::Etcd;
use crate::objects::{Delete, ErrorKind, Objects};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Scene {
    _etcd: Etcd,
    objects: Objects,
    fake: Fake,
    root: tempfile::TempDir,
}

/// An agent that is stopped, as if killed, when this goes.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Scene {
    async fn new() -> Self {
        Self::with(Latency::default()).await
    }

    async fn with(latency: Latency) -> Self {
        let (etcd, store) = Etcd::start().await;
        let root = tempfile::tempdir().unwrap();
        let fake = Fake::new(latency);
        Self { _etcd: etcd, objects: Objects::new(store), fake, root }
    }

    fn agent(&self) -> Running {
        let mut settings = Settings::new("n1", self.root.path().to_owned(), [127, 0, 0, 1].into());
        settings.backoff_first = SignedDuration::from_millis(200);
        settings.backoff_max = SignedDuration::from_secs(1);
        let (store, runtime) = (self.objects.store().clone(), Arc::new(self.fake.clone()));
        Running(tokio::spawn(async move {
            run(store, runtime, settings, std::future::pending()).await.unwrap();
        }))
    }

    async fn create(&self, name: &str, spec: Value) {
        let mut pod: Value = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "n1", "containers": [{"name": "main", "image": "web:1"}]},
        });
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        self.objects.create::<Pod>(&serde_json::from_value(pod).unwrap()).await.unwrap();
    }

    async fn pod(&self, name: &str) -> Option<Pod> {
        self.objects.get::<Pod>(Some("default"), name).await.unwrap().map(|stored| stored.object)
    }

    /// Waits until a pod is as it should be.
    async fn until(&self, name: &str, what: impl Fn(&Pod) -> bool) -> Pod {
        let waiting = async {
            loop {
                if let Some(pod) = self.pod(name).await.filter(|pod| what(pod)) {
                    return pod;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(pod) => pod,
            Err(_) => panic!("{:#?}", self.pod(name).await.map(|pod| pod.status)),
        }
    }

    async fn gone(&self, name: &str) {
        let waiting = async {
            while self.pod(name).await.is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the pod is gone");
    }

    async fn delete(&self, name: &str) {
        self.objects.delete::<Pod>(Some("default"), name, &Delete::default()).await.unwrap();
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    let ready = conditions.unwrap_or_default().iter().find(|one| one.type_ == "Ready");
    ready.is_some_and(|ready| ready.status == "True")
}

fn waits_for(pod: &Pod, reason: &str) -> bool {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    let waiting = status.and_then(|all| all[0].state.as_ref()?.waiting.as_ref()?.reason.clone());
    waiting.as_deref() == Some(reason)
}

fn restarts(pod: &Pod) -> i32 {
    pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].restart_count
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

#[tokio::test]
async fn a_pod_lives_and_ends_as_the_store_says() {
    // Proves a node that registers with its lease and range of addresses, a pod that becomes ready
    // with an address of it, one that ends, one that crashes again and again, one whose image is
    // missing, and that a deleted one leaves nothing behind.
    let scene = Scene::new().await;
    let _agent = scene.agent();
    scene.create("web", json!({})).await;
    let pod = scene.until("web", is_ready).await;
    assert!(pod.status.as_ref().unwrap().pod_ip.as_ref().unwrap().starts_with("10.244.0."));
    let node = scene.objects.get::<Node>(None, "n1").await.unwrap().unwrap();
    assert_eq!(node.spec.as_ref().unwrap().pod_cidr.as_deref(), Some("10.244.0.0/24"));
    assert!(super::node::is_ready(&node.object));
    let command =
        |script: &str| json!([{"name": "main", "image": "web:1", "command": ["sh", "-c", script]}]);
    scene.create("job", json!({"restartPolicy": "Never", "containers": command("exit 0")})).await;
    scene.until("job", |pod| phase(pod) == "Succeeded").await;
    scene.create("crash", json!({"containers": command("exit 3")})).await;
    scene.until("crash", |pod| waits_for(pod, "CrashLoopBackOff")).await;
    scene.until("crash", |pod| restarts(pod) >= 3).await;
    let missing = json!([{"name": "main", "image": "registry.invalid/x:1"}]);
    scene.create("missing", json!({"containers": missing})).await;
    scene.until("missing", |pod| waits_for(pod, "ErrImagePull")).await;
    for name in ["web", "job", "crash", "missing"] {
        scene.delete(name).await;
    }
    for name in ["web", "job", "crash", "missing"] {
        scene.gone(name).await;
    }
    assert_eq!(scene.fake.pods().await.unwrap(), []);
}

#[tokio::test]
async fn a_pod_that_takes_its_time_to_come_up_says_so() {
    // Proves that it is not kept back for long how far a pod is: neither before its network is there,
    // nor, with its address, before its container runs.
    let forever = Duration::from_secs(3600);
    for latency in [
        Latency { sandbox: forever, ..Latency::default() },
        Latency { start: forever, ..Latency::default() },
    ] {
        let scene = Scene::with(latency).await;
        let _agent = scene.agent();
        scene.create("slow", json!({})).await;
        let has_network = latency.sandbox.is_zero();
        let pod = scene.until("slow", |pod| {
            waits_for(pod, "ContainerCreating")
                && pod.status.as_ref().is_some_and(|it| it.pod_ip.is_some() == has_network)
        });
        assert_eq!(phase(&pod.await), "Pending");
    }
}

#[tokio::test]
async fn an_agent_that_comes_back_adopts_what_runs_and_ends_what_has_gone() {
    // Proves that nothing is started again by a restart of the agent, that a pod whose key went
    // meanwhile is removed, and that one that was replaced by another of its name is, too.
    let scene = Scene::new().await;
    let agent = scene.agent();
    for name in ["kept", "gone", "same"] {
        scene.create(name, json!({})).await;
        scene.until(name, is_ready).await;
    }
    let id = |pod: &Pod| {
        pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].container_id.clone()
    };
    let before = scene.pod("kept").await.unwrap();
    drop(agent);
    let force = Delete { grace_s: Some(0), ..Delete::default() };
    for name in ["gone", "same"] {
        scene.objects.delete::<Pod>(Some("default"), name, &force).await.unwrap();
    }
    let _agent = scene.agent();
    scene.create("same", json!({})).await;
    scene.until("same", is_ready).await;
    scene.create("next", json!({})).await;
    scene.until("next", is_ready).await;
    let after = scene.pod("kept").await.unwrap();
    assert_eq!((id(&after), restarts(&after)), (id(&before), 0));
    let left = async {
        while scene.fake.pods().await.unwrap().len() != 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, left).await.expect("only three pods are left");
}

#[tokio::test]
async fn another_agent_cannot_take_a_node_that_is_held() {
    // Proves that a second agent of the same name does not register while the first one lives, so
    // that no pod is run by both.
    let scene = Scene::new().await;
    let _first = scene.agent();
    scene.create("web", json!({})).await;
    scene.until("web", is_ready).await;
    let other =
        Scene { root: tempfile::tempdir().unwrap(), fake: Fake::new(Latency::default()), ..scene };
    let _second = other.agent();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(other.fake.pods().await.unwrap(), []);
    let lease = other
        .objects
        .get::<k8s_openapi::api::coordination::v1::Lease>(Some("kube-node-lease"), "n1")
        .await
        .unwrap();
    assert!(lease.is_some());
    let twice: Node = serde_json::from_value(json!({"metadata": {"name": "n1"}})).unwrap();
    let error = other.objects.create(&twice).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists);
}
