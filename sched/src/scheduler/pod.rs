//! A pod as the planner sees it: who it is, and its shape.
//!
//! The shape is everything that a decision can depend on, so pods of one shape (the replicas of a
//! Deployment) share what is worked out for one of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, Pod, PodAffinityTerm, PodSpec, TopologySpreadConstraint,
};

use super::resources::{Resources, Scored};
use super::select::{Labels, NodeTerm, Selector};
use super::taints::Toleration;

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl PodKey {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// What is known of a pod from its object.
#[derive(Clone, Debug)]
pub struct PodInfo {
    pub key: PodKey,
    pub uid: String,
    pub shape: Shape,
    /// The nodes that are named by its affinity, as a DaemonSet does; they are not in the shape.
    pub pinned: Option<Vec<String>>,
    pub node: Option<String>,
    /// Where room was made for it.
    pub nominated: Option<String>,
    /// It has ended, and takes no room.
    pub is_done: bool,
    pub is_terminating: bool,
    /// Somebody else decides when it may be placed.
    pub is_gated: bool,
    /// Seconds since 1970.
    pub created_s: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    pub namespace: String,
    pub labels: Labels,
    pub priority: i32,
    /// Others may be told to make way for it.
    pub preempts: bool,
    pub requests: Resources,
    pub scored: Scored,
    pub ports: Vec<HostPort>,
    pub node_selector: Labels,
    /// Alternatives; `None`: any node.
    pub node_terms: Option<Vec<NodeTerm>>,
    pub preferred_nodes: Vec<(i64, NodeTerm)>,
    pub tolerations: Vec<Toleration>,
    pub affinity: Vec<PodTerm>,
    pub anti_affinity: Vec<PodTerm>,
    /// With weights, below 0 for those to keep away from.
    pub preferred: Vec<(i64, PodTerm)>,
    pub spread: Vec<Spread>,
}

/// Which pods are meant, in domains of which key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodTerm {
    pub topology_key: String,
    pub namespaces: BTreeSet<String>,
    pub namespace_selector: Selector,
    pub selector: Selector,
    /// Pods that are being deleted do not count, as in topology spread.
    pub skips_terminating: bool,
}

impl PodTerm {
    pub fn matches(&self, namespace: &str, namespace_labels: &Labels, labels: &Labels) -> bool {
        let is_namespace = self.namespaces.contains(namespace)
            || self.namespace_selector.matches(namespace_labels);
        is_namespace && self.selector.matches(labels)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spread {
    pub term: PodTerm,
    pub skew_max: i64,
    pub domains_min: i64,
    /// Otherwise it is a preference.
    pub is_required: bool,
    pub honors_affinity: bool,
    pub honors_taints: bool,
}

/// A port of the node that a container is reached by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    pub protocol: String,
    pub port: i32,
    /// Empty: all addresses.
    pub address: String,
}

impl HostPort {
    pub(super) fn conflicts(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address
                || self.address.is_empty()
                || other.address.is_empty())
    }
}

impl PodInfo {
    /// What a pod's object says. A pod without a specification asks for nothing.
    pub fn new(pod: &Pod) -> Self {
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let status = pod.status.as_ref();
        let metadata = &pod.metadata;
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let mut shape = Shape::new(spec, namespace, metadata.labels.clone().unwrap_or_default());
        let pinned = shape.take_pin();
        let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or_default();
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let created = metadata.creation_timestamp.as_ref();
        Self {
            key: PodKey::new(&shape.namespace, metadata.name.as_deref().unwrap_or_default()),
            uid: metadata.uid.clone().unwrap_or_default(),
            pinned,
            node: text(&spec.node_name),
            nominated: status.and_then(|status| text(&status.nominated_node_name)),
            is_done: matches!(phase, "Succeeded" | "Failed"),
            is_terminating: metadata.deletion_timestamp.is_some(),
            is_gated: spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()),
            created_s: created.map_or(0, |time| time.0.as_second()),
            shape,
        }
    }
}

impl Shape {
    fn new(spec: &PodSpec, namespace: String, labels: Labels) -> Self {
        let requests = Resources::of_pod(spec);
        let affinity = spec.affinity.as_ref();
        let of_nodes = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
        let spread = spec.topology_spread_constraints.iter().flatten();
        Self {
            priority: spec.priority.unwrap_or(0),
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            scored: Scored::of_pod(spec, &requests),
            requests,
            ports: host_ports(spec),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            node_terms: of_nodes.and_then(required_nodes),
            preferred_nodes: of_nodes.map(preferred_nodes).unwrap_or_default(),
            tolerations: spec.tolerations.iter().flatten().map(Toleration::new).collect(),
            affinity: pod_terms(affinity, Side::Together, &namespace, &labels),
            anti_affinity: pod_terms(affinity, Side::Apart, &namespace, &labels),
            preferred: preferred_pods(affinity, &namespace, &labels),
            spread: spread.map(|one| spread_of(one, &namespace, &labels)).collect(),
            namespace,
            labels,
        }
    }

    /// Takes the names of nodes out of an affinity that has one alternative and names them, so that
    /// the pods of a DaemonSet have one shape.
    fn take_pin(&mut self) -> Option<Vec<String>> {
        let [term] = self.node_terms.as_deref()? else { return None };
        let (names, rest) = term.split_names()?;
        self.node_terms = rest.map(|rest| vec![rest]);
        Some(names)
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let on_host = spec.host_network.unwrap_or(false);
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|one| one.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|one| one.ports.iter().flatten());
    let mut found: Vec<HostPort> = ports
        .filter_map(|port| {
            let number = port.host_port.filter(|port| *port > 0);
            let number = number.or(on_host.then_some(port.container_port))?;
            let address = port.host_ip.clone().filter(|address| address != "0.0.0.0");
            Some(HostPort {
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                port: number,
                address: address.unwrap_or_default(),
            })
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn required_nodes(affinity: &NodeAffinity) -> Option<Vec<NodeTerm>> {
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    Some(required.node_selector_terms.iter().map(NodeTerm::new).collect())
}

fn preferred_nodes(affinity: &NodeAffinity) -> Vec<(i64, NodeTerm)> {
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    preferred.map(|one| (i64::from(one.weight), NodeTerm::new(&one.preference))).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Together,
    Apart,
}

fn pod_terms(
    affinity: Option<&Affinity>,
    side: Side,
    namespace: &str,
    labels: &Labels,
) -> Vec<PodTerm> {
    let Some(affinity) = affinity else { return Vec::new() };
    let (together, apart) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
    let list = match side {
        Side::Together => together
            .and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref()),
        Side::Apart => {
            apart.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref())
        }
    };
    list.into_iter().flatten().map(|term| pod_term(term, namespace, labels)).collect()
}

fn preferred_pods(
    affinity: Option<&Affinity>,
    namespace: &str,
    labels: &Labels,
) -> Vec<(i64, PodTerm)> {
    let Some(affinity) = affinity else { return Vec::new() };
    let together = affinity
        .pod_affinity
        .iter()
        .flat_map(|one| one.preferred_during_scheduling_ignored_during_execution.iter().flatten())
        .map(|one| (i64::from(one.weight), &one.pod_affinity_term));
    let apart = affinity
        .pod_anti_affinity
        .iter()
        .flat_map(|one| one.preferred_during_scheduling_ignored_during_execution.iter().flatten())
        .map(|one| (-i64::from(one.weight), &one.pod_affinity_term));
    together
        .chain(apart)
        .map(|(weight, term)| (weight, pod_term(term, namespace, labels)))
        .collect()
}

fn pod_term(term: &PodAffinityTerm, namespace: &str, labels: &Labels) -> PodTerm {
    let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
    if namespaces.is_empty() && term.namespace_selector.is_none() {
        namespaces.insert(namespace.to_owned());
    }
    let mut selector = Selector::new(term.label_selector.as_ref());
    selector.narrow(term.match_label_keys.as_ref(), labels, true);
    selector.narrow(term.mismatch_label_keys.as_ref(), labels, false);
    PodTerm {
        topology_key: term.topology_key.clone(),
        namespaces,
        namespace_selector: Selector::new(term.namespace_selector.as_ref()),
        selector,
        skips_terminating: false,
    }
}

fn spread_of(constraint: &TopologySpreadConstraint, namespace: &str, labels: &Labels) -> Spread {
    let mut selector = Selector::new(constraint.label_selector.as_ref());
    selector.narrow(constraint.match_label_keys.as_ref(), labels, true);
    let term = PodTerm {
        topology_key: constraint.topology_key.clone(),
        namespaces: BTreeSet::from([namespace.to_owned()]),
        namespace_selector: Selector::default(),
        selector,
        skips_terminating: true,
    };
    let is_honor = |policy: &Option<String>, default: bool| {
        policy.as_deref().map_or(default, |policy| policy == "Honor")
    };
    Spread {
        term,
        skew_max: i64::from(constraint.max_skew.max(1)),
        domains_min: i64::from(constraint.min_domains.unwrap_or(1)),
        is_required: constraint.when_unsatisfiable != "ScheduleAnyway",
        honors_affinity: is_honor(&constraint.node_affinity_policy, true),
        honors_taints: is_honor(&constraint.node_taints_policy, false),
    }
}
