//! The rules once more, as plainly as they can be said: every question looks at everything.

use std::collections::{BTreeMap, BTreeSet};

use super::super::node::NodeInfo;
use super::super::pod::{PodInfo, PodTerm, Spread};
use super::super::select::Labels;
use super::super::taints::{self, Taint};
use super::*;

/// All nodes and pods; pods with a node are there.
#[derive(Default)]
pub(super) struct World {
    pub nodes: BTreeMap<String, NodeInfo>,
    pub pods: BTreeMap<PodKey, PodInfo>,
    pub namespaces: BTreeMap<String, Labels>,
}

impl World {
    fn on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a PodInfo> {
        self.pods.values().filter(move |pod| pod.node.as_deref() == Some(node))
    }

    pub(super) fn fits(&self, pod: &PodInfo, name: &str) -> bool {
        let node = &self.nodes[name];
        self.admits(pod, node)
            && self.has_room(pod, node)
            && self.spread(pod, node)
            && self.affinity(pod, node)
    }

    fn admits(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let tolerations = &pod.shape.tolerations;
        let cordon = Taint::no_schedule(taints::CORDONED);
        let ports = self.on(&node.name).flat_map(|other| other.shape.ports.clone());
        let taken: Vec<_> = ports.collect();
        (!node.is_cordoned || taints::is_tolerated(&cordon, tolerations))
            && taints::untolerated(&node.taints, tolerations).is_none()
            && wants(pod, node)
            && pod.pinned.as_ref().is_none_or(|names| names.iter().any(|one| **one == *node.name))
            && !pod.shape.ports.iter().any(|port| taken.iter().any(|other| port.conflicts(other)))
    }

    fn has_room(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let others: Vec<_> = self.on(&node.name).map(|other| &other.shape.requests).collect();
        let sum = |of: fn(&resources::Resources) -> i64| {
            others.iter().map(|other| of(other)).sum::<i64>() + of(&pod.shape.requests)
        };
        let asks = &pod.shape.requests;
        i64::try_from(others.len()).unwrap() < node.pods_max
            && (asks.cpu_milli == 0 || sum(|one| one.cpu_milli) <= node.allocatable.cpu_milli)
            && (asks.memory_bytes == 0
                || sum(|one| one.memory_bytes) <= node.allocatable.memory_bytes)
    }

    fn matching<'a>(&'a self, term: &'a PodTerm) -> impl Iterator<Item = &'a PodInfo> {
        self.pods.values().filter(move |pod| {
            pod.node.is_some()
                && self.matches(term, pod)
                && !(term.skips_terminating && pod.is_terminating)
        })
    }

    fn matches(&self, term: &PodTerm, pod: &PodInfo) -> bool {
        let empty = Labels::new();
        let labels = self.namespaces.get(&pod.shape.namespace).unwrap_or(&empty);
        let is_namespace = term.namespaces.contains(&pod.shape.namespace)
            || term.namespace_selector.matches(labels);
        is_namespace && term.selector.matches(&pod.shape.labels)
    }

    fn domain(&self, pod: &PodInfo, key: &str) -> Option<&String> {
        self.nodes.get(pod.node.as_deref()?)?.labels.get(key)
    }

    fn affinity(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let is_there = |term: &PodTerm, one: &PodInfo| {
            let domain = node.labels.get(&term.topology_key);
            domain.is_some() && self.domain(one, &term.topology_key) == domain
        };
        let is_first = pod.shape.affinity.iter().all(|term| {
            self.matches(term, pod)
                && self.matching(term).all(|one| self.domain(one, &term.topology_key).is_none())
        });
        let together = pod.shape.affinity.iter().all(|term| {
            node.labels.contains_key(&term.topology_key)
                && (is_first || self.matching(term).any(|one| is_there(term, one)))
        });
        let apart = pod
            .shape
            .anti_affinity
            .iter()
            .all(|term| !self.matching(term).any(|one| is_there(term, one)));
        let others = self.pods.values().filter(|other| other.node.is_some()).all(|other| {
            let mut terms = other.shape.anti_affinity.iter();
            terms.all(|term| !(self.matches(term, pod) && is_there(term, other)))
        });
        together && apart && others
    }

    fn spread(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let required: Vec<&Spread> =
            pod.shape.spread.iter().filter(|one| one.is_required).collect();
        let has_all = |node: &NodeInfo| {
            required.iter().all(|one| node.labels.contains_key(&one.term.topology_key))
        };
        if !has_all(node) {
            return false;
        }
        required.iter().all(|one| {
            let key = &one.term.topology_key;
            let eligible: BTreeSet<&str> = self
                .nodes
                .values()
                .filter(|node| has_all(node))
                .filter(|node| !one.honors_affinity || wants(pod, node))
                .filter(|node| {
                    !one.honors_taints
                        || taints::untolerated(&node.taints, &pod.shape.tolerations).is_none()
                })
                .map(|node| &*node.name)
                .collect();
            let mut counts: BTreeMap<&String, i64> =
                eligible.iter().map(|name| (&self.nodes[*name].labels[key], 0)).collect();
            for other in self.matching(&one.term) {
                if eligible.contains(other.node.as_deref().unwrap()) {
                    *counts.get_mut(self.domain(other, key).unwrap()).unwrap() += 1;
                }
            }
            let enough = i64::try_from(counts.len()).unwrap() >= one.domains_min;
            let least = if enough { counts.values().min().copied().unwrap_or(0) } else { 0 };
            let here = counts.get(&node.labels[key]).copied().unwrap_or(0);
            here + i64::from(self.matches(&one.term, pod)) - least <= one.skew_max
        })
    }
}

fn wants(pod: &PodInfo, node: &NodeInfo) -> bool {
    let labels = &node.labels;
    pod.shape.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        && pod
            .shape
            .node_terms
            .as_ref()
            .is_none_or(|terms| terms.iter().any(|term| term.matches(&node.name, labels)))
}
