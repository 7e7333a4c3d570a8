//! Nodes and pods as scheduler_perf makes them (`test/integration/scheduler_perf` of Kubernetes:
//! `node-default.yaml`, `pod-default.yaml`, `pod-with-node-affinity.yaml`,
//! `pod-with-pod-anti-affinity.yaml`, `pod-with-topology-spreading.yaml`).

use std::fmt;

use clap::ValueEnum;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";
/// What a node has.
pub(crate) const CPU_MILLIS: u64 = 4000;
pub(crate) const MEMORY_BYTES: u64 = 32 << 30;
pub(crate) const PODS: u32 = 110;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    Basic,
    NodeAffinity,
    AntiAffinity,
    Spread,
}

impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Basic => "basic",
            Self::NodeAffinity => "node affinity",
            Self::AntiAffinity => "required anti-affinity",
            Self::Spread => "topology spread",
        })
    }
}

/// How much of everything.
pub(crate) struct Scale {
    pub(crate) nodes: usize,
    /// Pods that are there before.
    pub(crate) before: usize,
    pub(crate) measured: usize,
}

impl Scale {
    pub(crate) fn new(workload: Workload, nodes: usize, pods: usize) -> Self {
        match workload {
            // One for each node at most, and some of those nodes are full from the beginning.
            Workload::AntiAffinity => Self { nodes, before: nodes / 5, measured: nodes * 3 / 5 },
            _ => Self { nodes, before: nodes, measured: pods },
        }
    }

    pub(crate) fn text(&self) -> String {
        format!("{} nodes, {} pods after {}", self.nodes, self.measured, self.before)
    }
}

impl Workload {
    pub(crate) fn node(self, at: usize) -> Node {
        let name = format!("node-{at:05}");
        let zone = match self {
            Self::Spread => format!("moon-{}", at % 3 + 1),
            _ => "zone1".to_owned(),
        };
        let amounts = json!({
            "cpu": format!("{CPU_MILLIS}m"), "memory": MEMORY_BYTES.to_string(),
            "pods": PODS.to_string(),
        });
        from(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {HOSTNAME: name, ZONE: zone}},
            "spec": {},
            "status": {
                "capacity": amounts, "allocatable": amounts,
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }))
    }

    pub(crate) fn pod(self, at: usize, measured: bool) -> Pod {
        let name = format!("{}-{at:06}", if measured { "measured" } else { "before" });
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"containers": [{
                "name": "pause", "image": "registry.k8s.io/pause:3.10",
                "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}},
            }]},
        });
        self.add_rules(&mut pod, measured);
        from(pod)
    }

    fn add_rules(self, pod: &mut Value, measured: bool) {
        match self {
            Self::NodeAffinity if measured => {
                let zones = json!({"key": ZONE, "operator": "In", "values": ["zone1", "zone2"]});
                let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [zones]}]});
                pod["spec"]["affinity"]["nodeAffinity"] =
                    json!({"requiredDuringSchedulingIgnoredDuringExecution": terms});
            }
            Self::AntiAffinity => {
                pod["metadata"]["labels"] = json!({"color": "green"});
                let term = json!({
                    "labelSelector": {"matchLabels": {"color": "green"}},
                    "topologyKey": HOSTNAME, "namespaces": ["default"],
                });
                pod["spec"]["affinity"]["podAntiAffinity"] =
                    json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]});
            }
            Self::Spread if measured => {
                pod["metadata"]["labels"] = json!({"color": "blue"});
                pod["spec"]["topologySpreadConstraints"] = json!([{
                    "maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": {"matchLabels": {"color": "blue"}},
                }]);
            }
            _ => {}
        }
    }
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the workloads are objects of Kubernetes")
}
