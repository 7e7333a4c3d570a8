//! A cluster without machines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use api::etcdserverpb::LeaseGrantRequest;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    Event, Namespace, Node, NodeCondition, Pod, PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use sched::controllers::{self, Settings};
use sched::kv::Store;
use sched::kv::grpc::{Endpoint, GrpcKv};
use sched::objects::{Beside, Delete, ErrorKind, Kind, Mirror, Objects, Stored, clock};
use serde_json::json;
use testkit::{Server, eventually, subject};
use tokio::task::JoinHandle;

/// What a settled cluster may take on a busy machine.
pub(crate) const SOON_S: u64 = 60;
/// Images that begin so never become ready.
pub(crate) const BAD: &str = "bad";

pub(crate) struct Crew {
    pub(crate) server: Server,
    pub(crate) objects: Objects,
    nodes: Arc<Mutex<BTreeMap<String, i64>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A client of the store at a URL.
pub(crate) fn store_at(url: &str) -> Store {
    let target = tonic::transport::Endpoint::from_shared(url.to_owned()).unwrap();
    let endpoint = Endpoint::new(url.to_owned(), move || target.connect_lazy());
    Arc::new(GrpcKv::new(vec![endpoint], None).unwrap())
}

/// Controllers, until the handle is aborted, which is their death.
pub(crate) fn controllers(store: Store, identity: &str) -> JoinHandle<()> {
    let settings =
        Settings { identity: identity.to_owned(), leader_ttl_s: 2, ..Settings::default() };
    tokio::spawn(controllers::run(store, settings, std::future::pending()))
}

impl Crew {
    /// A store, these nodes, the namespace `shop`, and no controllers yet.
    pub(crate) async fn start(nodes: &[&str]) -> Self {
        let server = Server::start(subject!(), &[]).await;
        let objects = Objects::new(store_at(&server.endpoint()));
        let mut crew =
            Self { server, objects: objects.clone(), nodes: Arc::default(), tasks: Vec::new() };
        for node in nodes {
            crew.join(node).await;
        }
        crew.create(&namespace("shop")).await;
        crew.tasks.push(tokio::spawn(work(objects, crew.nodes.clone())));
        crew
    }

    /// The same with controllers.
    pub(crate) async fn with_controllers(nodes: &[&str]) -> Self {
        let mut crew = Self::start(nodes).await;
        crew.tasks.push(controllers(crew.store(), "one"));
        crew
    }

    pub(crate) fn store(&self) -> Store {
        store_at(&self.server.endpoint())
    }

    /// A node comes, or comes back.
    pub(crate) async fn join(&self, name: &str) {
        let request = LeaseGrantRequest { ttl: 3600, id: 0 };
        let lease = self.objects.store().lease_grant(request).await.unwrap().id;
        let document = Lease {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("kube-node-lease".into()),
                ..ObjectMeta::default()
            },
            ..Lease::default()
        };
        let beside = Beside { lease, ..Beside::default() };
        self.objects.create_with(&document, &beside).await.unwrap();
        let condition = NodeCondition {
            type_: "Ready".into(),
            status: "True".into(),
            ..NodeCondition::default()
        };
        let mut node = Node::default();
        node.metadata.name = Some(name.into());
        node.status.get_or_insert_default().conditions = Some(vec![condition]);
        match self.objects.create(&node).await {
            Err(error) if error.kind == ErrorKind::AlreadyExists => {}
            created => drop(created.unwrap()),
        }
        self.nodes.lock().insert(name.into(), lease);
    }

    /// A node dies: nobody acts for it any more, and its lease is over.
    pub(crate) async fn kill(&self, name: &str) {
        let lease = self.nodes.lock().remove(name).unwrap();
        self.objects.store().lease_revoke(lease).await.unwrap();
    }

    pub(crate) async fn create<T: Kind>(&self, object: &T) -> Stored<T> {
        self.objects.create(object).await.unwrap()
    }

    /// An object from its document.
    pub(crate) async fn make<T: Kind>(&self, document: serde_json::Value) -> Stored<T> {
        self.create(&serde_json::from_value::<T>(document).unwrap()).await
    }

    pub(crate) async fn get<T: Kind>(&self, name: &str) -> Option<T> {
        self.objects.get(Some("shop"), name).await.unwrap().map(|stored| stored.object)
    }

    pub(crate) async fn change<T: Kind>(&self, name: &str, change: impl Fn(&mut T)) {
        let changed = self.objects.modify::<T>(Some("shop"), name, |object| {
            change(object);
            true
        });
        changed.await.unwrap().unwrap();
    }

    pub(crate) async fn delete<T: Kind>(&self, name: &str, delete: &Delete) {
        self.objects.delete::<T>(Some("shop"), name, delete).await.unwrap();
    }

    pub(crate) async fn list<T: Kind>(&self) -> Vec<T> {
        let listed = self.objects.list::<T>(Some("shop")).await.unwrap();
        listed.items.into_iter().map(|stored| stored.object).collect()
    }

    /// Pods that are not on their way out, with whether they are ready.
    pub(crate) async fn pods(&self) -> Vec<(Pod, bool)> {
        let pods = self.list::<Pod>().await.into_iter();
        let living = pods.filter(|pod| pod.metadata.deletion_timestamp.is_none());
        living.map(|pod| (pod.clone(), is_ready(&pod))).collect()
    }

    /// Images of ready pods with their number; `Err` while any pod is not ready, or leaves.
    pub(crate) async fn running(&self) -> Result<BTreeMap<String, usize>, String> {
        let mut running = BTreeMap::new();
        for pod in self.list::<Pod>().await {
            if pod.metadata.deletion_timestamp.is_some() || !is_ready(&pod) {
                return Err(format!("{:?} is not settled", pod.metadata.name));
            }
            *running.entry(image(&pod).to_owned()).or_default() += 1;
        }
        Ok(running)
    }

    /// Waits until exactly these pods run, all ready, and no other.
    pub(crate) async fn settles(&self, expected: &[(&str, usize)]) {
        let expected: BTreeMap<String, usize> =
            expected.iter().map(|(image, count)| ((*image).to_owned(), *count)).collect();
        eventually("the pods that were asked for", SOON_S, async || {
            let running = self.running().await?;
            if running == expected { Ok(()) } else { Err(format!("{running:?}")) }
        })
        .await;
    }

    /// Reasons of all events so far.
    pub(crate) async fn reasons(&self) -> BTreeSet<String> {
        self.list::<Event>().await.into_iter().filter_map(|event| event.reason).collect()
    }

    pub(crate) async fn progress(&self, deployment: &str) -> String {
        let deployment = self.get::<Deployment>(deployment).await.unwrap();
        let conditions = deployment.status.unwrap_or_default().conditions.unwrap_or_default();
        let progress = conditions.into_iter().find(|one| one.type_ == "Progressing");
        progress.and_then(|one| one.reason).unwrap_or_default()
    }
}

pub(crate) fn namespace(name: &str) -> Namespace {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.into());
    namespace.spec.get_or_insert_default().finalizers = Some(vec!["kubernetes".into()]);
    namespace
}

pub(crate) fn template(image: &str) -> serde_json::Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{
            "name": "web", "image": image,
            "ports": [{"name": "http", "containerPort": 8080}],
        }]},
    })
}

pub(crate) fn deployment(replicas: i32, image: &str) -> serde_json::Value {
    json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(image),
        },
    })
}

pub(crate) fn set_image(deployment: &mut Deployment, image: &str) {
    let spec = deployment.spec.as_mut().unwrap();
    spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
}

pub(crate) fn image(pod: &Pod) -> &str {
    pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap_or_default()
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Does for every node what scheduler and agent would.
async fn work(objects: Objects, nodes: Arc<Mutex<BTreeMap<String, i64>>>) {
    let mut pods: Mirror<Pod> = Mirror::new(&objects);
    let addresses = AtomicU32::new(1);
    pods.synced().await;
    loop {
        let living: Vec<String> = nodes.lock().keys().cloned().collect();
        let view = pods.read();
        for pod in view.values() {
            serve(&objects, pod, &living, &addresses).await;
        }
        drop(view);
        // A node that comes back changes no pod.
        let _ = tokio::time::timeout(Duration::from_millis(100), pods.changed()).await;
    }
}

async fn serve(objects: &Objects, pod: &Stored<Pod>, living: &[String], addresses: &AtomicU32) {
    let spec = pod.object.spec.as_ref().unwrap();
    let status = pod.object.status.clone().unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or("Pending");
    // Somebody else may have been faster: the next round sees it.
    match spec.node_name.as_deref() {
        None => {
            if let Some(node) = place(objects, pod, living).await {
                let bind = |pod: &mut Pod| {
                    pod.spec.as_mut().unwrap().node_name = Some(node);
                };
                let _ = objects.update(pod, bind).await;
            }
        }
        Some(node) if !living.iter().any(|living| living == node) => {}
        Some(_) if pod.object.metadata.deletion_timestamp.is_some() => {
            let delete = Delete::now(pod.object.metadata.uid.as_deref().unwrap());
            let name = pod.object.metadata.name.as_deref().unwrap();
            let _ = objects.delete::<Pod>(Some("shop"), name, &delete).await;
        }
        Some(_) if matches!(phase, "Pending" | "Unknown") => {
            let status = started(pod, addresses);
            let _ = objects.update(pod, |pod| pod.status = Some(status)).await;
        }
        Some(_) => {}
    }
}

/// The node with the fewest pods that this one may go to.
async fn place(objects: &Objects, pod: &Pod, living: &[String]) -> Option<String> {
    let nodes = objects.list::<Node>(None).await.ok()?;
    let pods = objects.list::<Pod>(None).await.ok()?;
    let tied = pod.spec.as_ref()?.affinity.as_ref().and_then(|affinity| {
        let required = affinity.node_affinity.as_ref()?;
        let required = required.required_during_scheduling_ignored_during_execution.as_ref()?;
        let fields = required.node_selector_terms.first()?.match_fields.as_ref()?;
        fields.first()?.values.as_ref()?.first().cloned()
    });
    let open = nodes.items.iter().filter(|node| {
        let taints = node.object.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        taints.is_none_or(Vec::is_empty)
    });
    let names = open.filter_map(|node| node.object.metadata.name.clone());
    let fitting =
        names.filter(|name| living.contains(name) && tied.as_ref().is_none_or(|tied| tied == name));
    fitting.min_by_key(|name| {
        let on = |pod: &&Stored<Pod>| {
            pod.object.spec.as_ref().is_some_and(|spec| spec.node_name.as_ref() == Some(name))
        };
        pods.items.iter().filter(on).count()
    })
}

/// A pod that was started: it runs for ever, or if it is a job's, is done.
fn started(pod: &Pod, addresses: &AtomicU32) -> PodStatus {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    let is_job = matches!(policy, Some("Never" | "OnFailure"));
    let is_bad = image(pod).starts_with(BAD);
    let phase = match (is_job, is_bad) {
        (true, true) => "Failed",
        (true, false) => "Succeeded",
        (false, _) => "Running",
    };
    let number = addresses.fetch_add(1, Ordering::Relaxed);
    let condition = PodCondition {
        type_: "Ready".into(),
        status: if is_bad || is_job { "False" } else { "True" }.into(),
        last_transition_time: Some(clock::time()),
        ..PodCondition::default()
    };
    PodStatus {
        phase: Some(phase.into()),
        pod_ip: Some(format!("10.9.{}.{}", number / 250, number % 250 + 1)),
        conditions: Some(vec![condition]),
        ..PodStatus::default()
    }
}
