//! Schedulers on a real store.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Namespace};
use tokio::task::JoinHandle;

use super::super::resources::Resources;
use super::*;
use crate::kv::testing::Etcd;
use crate::objects::{Delete, Objects};

/// How often something is looked for, a minute in all, and between two looks.
const TRIES: usize = 1200;
const PAUSE: Duration = Duration::from_millis(50);

struct Running {
    _etcd: Etcd,
    objects: Objects,
    schedulers: Vec<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.schedulers.iter().for_each(JoinHandle::abort);
    }
}

impl Running {
    async fn start(nodes: &[Node], schedulers: usize) -> Self {
        let (etcd, store) = Etcd::start().await;
        let objects = Objects::new(store);
        for node in nodes {
            objects.create(node).await.unwrap();
        }
        let start = |_| tokio::spawn(run(objects.clone(), Settings::default()));
        let schedulers = (0..schedulers).map(start).collect();
        Self { _etcd: etcd, objects, schedulers }
    }

    async fn create(&self, pod: &Pod) {
        let mut pod = pod.clone();
        pod.metadata.uid = None;
        self.objects.create(&pod).await.unwrap();
    }

    async fn pods(&self) -> Vec<Pod> {
        let listed = self.objects.list::<Pod>(Some("default")).await.unwrap();
        listed.items.into_iter().map(|one| one.object).collect()
    }

    /// Waits until the pods are so.
    async fn until(&self, what: &str, is_so: impl Fn(&[Pod]) -> bool) -> Vec<Pod> {
        let mut pods = Vec::new();
        for _ in 0..TRIES {
            pods = self.pods().await;
            if is_so(&pods) {
                return pods;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let seen: Vec<_> = pods.iter().map(|pod| (&pod.metadata.name, node_of(pod))).collect();
        panic!("{what}: {seen:?}");
    }

    /// The message of an event, which comes after what it tells of.
    async fn event(&self, reason: &str, pod: &str) -> String {
        for _ in 0..TRIES {
            let events = self.objects.list::<Event>(Some("default")).await.unwrap().items;
            let mut about = events.into_iter().filter(|event| {
                event.reason.as_deref() == Some(reason)
                    && event.involved_object.name.as_deref() == Some(pod)
            });
            if let Some(message) = about.next_back().and_then(|event| event.object.message) {
                return message;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("no event {reason} of {pod}");
    }
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn condition(pod: &Pod) -> Option<(String, String)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|one| one.type_ == "PodScheduled")?;
    Some((scheduled.status.clone(), scheduled.message.clone().unwrap_or_default()))
}

fn named<'a>(pods: &'a [Pod], name: &str) -> Option<&'a Pod> {
    pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn three_schedulers_never_overcommit() {
    // Proves that three schedulers at once place all pods that fit, each once, that no node gets
    // more than it has, that one too many waits and says so, and that it follows when one goes.
    let nodes: Vec<Node> =
        (0..6).map(|at| node(&format!("n{at}"), "2", "8Gi", json!({}))).collect();
    let running = Running::start(&nodes, 3).await;
    for at in 0..61 {
        running.create(&pod(&format!("p{at}"), json!({"cpu": "200m"}), json!({}))).await;
    }
    let bound = |pods: &[Pod]| pods.iter().filter(|pod| node_of(pod).is_some()).count();
    let says = |pods: &[Pod]| {
        pods.iter().filter_map(condition).any(|(status, text)| {
            status == "False" && text.starts_with("0/6 nodes are available: 6 Insufficient cpu.")
        })
    };
    let pods = running.until("60 are bound", |pods| bound(pods) == 60 && says(pods)).await;
    let mut used: BTreeMap<&str, Resources> = BTreeMap::new();
    for pod in &pods {
        let Some(node) = node_of(pod) else { continue };
        used.entry(node).or_default().add(&pod::PodInfo::new(pod).shape.requests);
        assert_eq!(condition(pod).unwrap().0, "True");
    }
    assert_eq!(used.len(), 6);
    assert!(used.values().all(|used| used.cpu_milli <= 2000), "{used:?}");

    let waiting = pods.iter().find(|pod| node_of(pod).is_none()).unwrap();
    let waiting = waiting.metadata.name.clone().unwrap();
    let gone = pods.iter().find(|pod| node_of(pod).is_some()).unwrap();
    let (gone, uid) = (gone.metadata.name.clone().unwrap(), gone.metadata.uid.clone().unwrap());
    let message = running.event("FailedScheduling", &waiting).await;
    assert!(message.contains("6 Insufficient cpu"), "{message}");
    let message = running.event("Scheduled", &gone).await;
    assert!(message.starts_with(&format!("Successfully assigned default/{gone} to n")));
    running.objects.delete::<Pod>(Some("default"), &gone, &Delete::now(&uid)).await.unwrap();
    running
        .until("the last one follows", |pods| {
            named(pods, &waiting).is_some_and(|pod| node_of(pod).is_some())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_important_take_the_place_of_others() {
    // Proves preemption in the store: the victim is told to go and marked, the room is kept, and the
    // new pod is bound when the victim has gone; gated pods and those of other schedulers stay.
    let running = Running::start(&[node("n", "2", "8Gi", json!({}))], 1).await;
    let gated = json!({"spec": {"schedulingGates": [{"name": "later"}]}});
    running.create(&pod("gated", json!({}), gated)).await;
    let foreign = json!({"spec": {"schedulerName": "another"}});
    running.create(&pod("foreign", json!({}), foreign)).await;
    running.create(&pod("low", json!({"cpu": "2"}), json!({}))).await;
    let is_bound =
        |pods: &[Pod], name: &str| named(pods, name).is_some_and(|p| node_of(p).is_some());
    running.until("the first is bound", |pods| is_bound(pods, "low")).await;
    let high = pod("high", json!({"cpu": "1"}), json!({"spec": {"priority": 10}}));
    running.create(&high).await;
    let pods = running
        .until("the victim is told", |pods| {
            named(pods, "low").is_some_and(|pod| pod.metadata.deletion_timestamp.is_some())
        })
        .await;
    let low = named(&pods, "low").unwrap();
    let status = low.status.as_ref().unwrap();
    let reasons = status.conditions.iter().flatten().filter_map(|one| one.reason.as_deref());
    assert!(reasons.into_iter().any(|reason| reason == "PreemptionByScheduler"));
    running.create(&pod("next", json!({"cpu": "2"}), json!({}))).await;
    // Its agent would do this.
    let uid = low.metadata.uid.clone().unwrap();
    running.objects.delete::<Pod>(Some("default"), "low", &Delete::now(&uid)).await.unwrap();
    let pods = running.until("the other is bound", |pods| is_bound(pods, "high")).await;
    assert!(!is_bound(&pods, "gated") && !is_bound(&pods, "foreign") && !is_bound(&pods, "next"));
    let conditions = named(&pods, "gated").unwrap().status.as_ref().unwrap().conditions.as_ref();
    let gated = conditions.into_iter().flatten().find(|one| one.type_ == "PodScheduled").unwrap();
    assert_eq!(gated.reason.as_deref(), Some("SchedulingGated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_that_is_late_changes_nothing() {
    // Proves the transaction alone: it fails, and says why, if the pod or the node were written
    // since, or if another pod was bound to the node that was not known of.
    let running = Running::start(&[node("n", "2", "8Gi", json!({}))], 0).await;
    let namespace: Namespace =
        serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
    running.objects.create(&namespace).await.unwrap();
    for name in ["one", "two"] {
        running.create(&pod(name, json!({}), json!({}))).await;
    }
    let read = async |name: &str| {
        running.objects.get::<Pod>(Some("default"), name).await.unwrap().unwrap()
    };
    let node = running.objects.get::<Node>(None, "n").await.unwrap().unwrap();
    let bind = async |name: &str, revision: i64, node_revision: i64, known: i64| {
        let target = bind::Target { name: "n".to_owned(), revision: node_revision, known };
        let document = read(name).await.document().unwrap().to_string().into();
        let binding = bind::Binding { key: key(name), revision, document, beside: None };
        let request = bind::request(&target, &[binding], "2026-01-01T00:00:00Z").unwrap();
        bind::outcome(&running.objects.store().txn(request).await.unwrap())
    };
    let (one, two) = (read("one").await, read("two").await);
    let known = two.revision;
    let lost = |pods: i64, allocation: i64| {
        bind::Bound::No(bind::Lost { allocation, node: node.revision, pods: vec![pods] })
    };
    assert_eq!(bind("one", one.revision - 1, node.revision, known).await, lost(one.revision, 0));
    assert_eq!(bind("one", one.revision, node.revision - 1, known).await, lost(one.revision, 0));
    let bind::Bound::Yes(at) = bind("one", one.revision, node.revision, known).await else {
        panic!("not bound");
    };
    assert_eq!(bind("two", two.revision, node.revision, known).await, lost(two.revision, at));
    assert_eq!(bind("two", two.revision, node.revision, at).await, bind::Bound::Yes(at + 1));
    assert_eq!(node_of(&read("two").await.object), Some("n"));
}
