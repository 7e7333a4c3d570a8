//! The planner beside what is known of Kubernetes, and beside a plain reference.
#![allow(clippy::needless_pass_by_value, reason = "a document is written where it is given")]

mod cases;
mod executor;
mod pods_that_wait;
mod preemption;
mod random;
mod reference;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::*;

/// A node of so many CPUs and GiB, with 110 pods at most, changed by `more`.
fn node(name: &str, cpu: &str, memory: &str, more: Value) -> Node {
    let mut value = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    });
    merge(&mut value, more);
    serde_json::from_value(value).unwrap()
}

/// A pod with one container that asks for this, changed by `more`.
fn pod(name: &str, requests: Value, more: Value) -> Pod {
    let mut value = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"containers": [{"name": "main", "resources": {"requests": requests}}]},
    });
    merge(&mut value, more);
    serde_json::from_value(value).unwrap()
}

fn merge(into: &mut Value, more: Value) {
    json_patch::merge(into, &more);
}

fn key(name: &str) -> PodKey {
    PodKey::new("default", name)
}

impl Planner {
    /// Places a pod and goes on as if that were so; the node.
    fn settle(&mut self, pod: &Pod) -> Option<String> {
        self.set_pod(pod);
        let key = pod::PodInfo::new(pod).key;
        let placement = self.place(&key)?;
        self.assume(&key, &placement.node);
        Some(placement.node.to_string())
    }
}

fn planner(nodes: &[Node]) -> Planner {
    let mut planner = Planner::new(Strategy::default());
    nodes.iter().for_each(|node| planner.set_node(node));
    planner
}
