//! A worker that nobody tells of anything: what it learns by its own writes has to wake it.

use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;

use super::*;
use crate::agent::Settings;
use crate::agent::machine::Machine;
use crate::agent::pod::status::Host;
use crate::agent::runtime::Runtime;
use crate::agent::runtime::fake::{Fake, Latency};
use crate::kv::testing::Etcd;
use crate::objects::events::Recorder;
use crate::objects::{Delete, Mirror};

/// More than anything here takes, and less than it takes until all is looked at anyhow.
const SOON: Duration = Duration::from_secs(20);

struct Alone {
    _etcd: Etcd,
    _root: tempfile::TempDir,
    _lease: watch::Sender<Lease>,
    objects: Objects,
    fake: Fake,
    orders: Orders,
    work: JoinHandle<()>,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Alone {
    async fn with(spec: Value) -> Self {
        assert!(SOON < LOOK);
        let (etcd, store) = Etcd::start().await;
        let objects = Objects::new(store);
        let root = tempfile::tempdir().unwrap();
        let fake = Fake::new(Latency::default());
        let cidr = "10.244.0.0/24".parse().unwrap();
        fake.set_pod_cidr(&cidr, &cidr).await.unwrap();
        let settings = Settings::new("n1", root.path().to_owned(), [127, 0, 0, 1].into());
        let (lease_state, lease) = watch::channel(Lease::Held);
        let context = Arc::new(Context {
            runtime: Arc::new(fake.clone()),
            services: Mirror::new(&objects),
            slices: Mirror::new(&objects),
            served: watch::channel(i64::MAX).1,
            recorder: Arc::new(Recorder::new(objects.clone(), "kubelet", Some("n1"))),
            lease,
            host: Host { address: settings.address, runtime: "fake" },
            machine: Machine::look(root.path()),
            nameserver: std::sync::OnceLock::new(),
            starts: Semaphore::new(1),
            volumes: Mutex::new(()),
            objects: objects.clone(),
            settings,
        });
        context.services.synced().await;
        let mut pod: Value = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"nodeName": "n1", "containers": [{"name": "main", "image": "web:1"}]},
        });
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        let pod = objects.create::<Pod>(&serde_json::from_value(pod).unwrap()).await.unwrap();
        let (worker, orders) = Worker::new(context, Arc::new(pod));
        let work = tokio::spawn(worker.run());
        Self { _etcd: etcd, _root: root, _lease: lease_state, objects, fake, orders, work }
    }

    async fn pod(&self) -> Option<Stored<Pod>> {
        self.objects.get::<Pod>(Some("default"), "web").await.unwrap()
    }

    /// Waits until the pod is as it should be.
    async fn until(&self, what: impl Fn(Option<&Pod>) -> bool) {
        let waiting = async {
            while !what(self.pod().await.as_deref()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(SOON, waiting).await.is_err() {
            panic!("{:#?}", self.pod().await.map(|pod| pod.object.status));
        }
    }
}

fn phase(pod: Option<&Pod>) -> &str {
    pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()).unwrap_or_default()
}

#[tokio::test]
async fn what_a_conflict_showed_is_planned_for() {
    // Proves that a worker which learns of a deletion only because its status could not be written
    // over it ends the pod at once, though all that it sees is that one of two containers has ended.
    let containers = ["main", "other"].map(|name| json!({"name": name, "image": "web:1"}));
    let alone = Alone::with(json!({"restartPolicy": "Never", "containers": containers})).await;
    alone.until(|pod| phase(pod) == "Running").await;
    alone.objects.delete::<Pod>(Some("default"), "web", &Delete::default()).await.unwrap();
    let seen = alone.fake.pods().await.unwrap().remove(0);
    let sandbox = alone.fake.observe(&seen.uid).await.unwrap().unwrap();
    alone.fake.stop_container(&sandbox.containers[0].id, Duration::ZERO).await.unwrap();
    alone.orders.look.notify_one();
    alone.until(|pod| pod.is_none()).await;
}

#[tokio::test]
async fn a_deadline_that_begins_is_waited_for() {
    // Proves that a pod's time, which begins with the status that says so, is kept though nothing
    // else happens to the pod.
    let alone = Alone::with(json!({"activeDeadlineSeconds": 1})).await;
    let reason = |pod: &Pod| pod.status.as_ref()?.reason.clone();
    alone.until(|pod| pod.and_then(reason).as_deref() == Some("DeadlineExceeded")).await;
}
