//! A node as the planner sees it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use super::pod::{HostPort, PodKey};
use super::quantity::units;
use super::resources::{Resources, Scored};
use super::select::Labels;
use super::taints::{NOT_READY, Taint};

/// What is known of a node from its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeInfo {
    pub name: Arc<str>,
    pub labels: Labels,
    /// With the one of a node that is not ready.
    pub taints: Vec<Taint>,
    pub is_cordoned: bool,
    pub allocatable: Resources,
    pub pods_max: i64,
}

impl NodeInfo {
    pub(super) fn new(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let mut taints: Vec<Taint> = spec
            .and_then(|spec| spec.taints.as_ref())
            .into_iter()
            .flatten()
            .filter_map(Taint::new)
            .collect();
        if !is_ready(node) && !taints.iter().any(|taint| taint.key == NOT_READY) {
            taints.push(Taint::no_schedule(NOT_READY));
        }
        let allocatable =
            status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        let pods_max = allocatable.and_then(|list| list.get("pods")).and_then(units);
        Self {
            name: node.metadata.name.clone().unwrap_or_default().into(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints,
            is_cordoned: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
            allocatable: Resources::from_list(allocatable),
            pods_max: pods_max.unwrap_or(0),
        }
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// A node with the pods that are there, and their sums.
#[derive(Clone, Debug)]
pub(super) struct NodeState {
    pub info: NodeInfo,
    pub pods: BTreeSet<PodKey>,
    pub used: Resources,
    pub scored: Scored,
    /// Host ports in use, and by how many pods (more than one only if somebody else placed them).
    pub ports: HashMap<HostPort, u32>,
    /// Pods by class: replicas of one kind.
    pub replicas: HashMap<usize, u32>,
    /// What the pods of each priority use, and how many they are.
    pub by_priority: BTreeMap<i32, (Resources, i64)>,
    /// Room that is kept for pods which others were told to make way for.
    pub nominated: BTreeMap<PodKey, (i32, Resources)>,
}

impl NodeState {
    pub(super) fn new(info: NodeInfo) -> Self {
        Self {
            info,
            pods: BTreeSet::new(),
            used: Resources::default(),
            scored: Scored::default(),
            ports: HashMap::new(),
            replicas: HashMap::new(),
            by_priority: BTreeMap::new(),
            nominated: BTreeMap::new(),
        }
    }

    /// Whether somebody uses the port already, on an address that it would be used on.
    pub(super) fn is_taken(&self, wanted: &HostPort) -> bool {
        if self.ports.is_empty() {
            return false;
        }
        self.ports.keys().any(|taken| taken.conflicts(wanted))
    }

    /// What is kept for pods that are at least so important, and how many they are.
    pub(super) fn kept_for(&self, priority: i32) -> Option<(Resources, i64)> {
        let mut kept: Option<(Resources, i64)> = None;
        for (_, requests) in self.nominated.values().filter(|(own, _)| *own >= priority) {
            let (sum, count) = kept.get_or_insert_default();
            sum.add(requests);
            *count += 1;
        }
        kept
    }

    /// What pods less important than this use, and how many they are.
    pub(super) fn below(&self, priority: i32) -> (Resources, i64) {
        let mut sum = (Resources::default(), 0);
        for (used, count) in self.by_priority.range(..priority).map(|(_, used)| used) {
            sum.0.add(used);
            sum.1 += count;
        }
        sum
    }
}
