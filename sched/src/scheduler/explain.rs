//! Why a pod is placed nowhere, in the words that users of kubectl know.

use std::collections::BTreeMap;

use super::cluster::Cluster;
use super::planner::Planner;
use super::pod::{PodKey, Shape};
use super::taints;
use super::topology::Slot;
use super::verdict::{self, Verdict};

impl Planner {
    /// How many nodes do not take a pod for which reasons:
    /// `0/3 nodes are available: 1 Insufficient memory, 2 node(s) were unschedulable.`
    pub fn explain(&mut self, key: &PodKey) -> String {
        let Some(known) = self.cluster.pod(key) else { return String::new() };
        let (class, pinned) = (known.class, known.pinned.clone());
        if self.cluster.nodes_count() == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let (cluster, candidates) = self.candidates(class);
        let shape = &cluster.classes.get(class).shape;
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        for slot in cluster.nodes() {
            let is_named = pinned.as_ref().is_none_or(|names| {
                cluster.node(slot).is_some_and(|node| names.iter().any(|n| **n == *node.info.name))
            });
            let verdict =
                if is_named { candidates.verdict(cluster, slot) } else { Verdict::Affinity };
            for reason in reasons_of(cluster, shape, slot, verdict) {
                *reasons.entry(reason).or_default() += 1;
            }
        }
        available(cluster.nodes_count(), &reasons)
    }
}

/// `0/N nodes are available: ` and the reasons with their counts.
pub(super) fn available(nodes: usize, reasons: &BTreeMap<String, usize>) -> String {
    let mut texts: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort_unstable();
    format!("0/{nodes} nodes are available: {}.", texts.join(", "))
}

fn reasons_of(cluster: &Cluster, shape: &Shape, slot: Slot, verdict: Verdict) -> Vec<String> {
    let Some(node) = cluster.node(slot) else { return Vec::new() };
    let text = match verdict {
        // It has room again, or is kept for another: the pod is tried once more.
        Verdict::Fits | Verdict::Gone => return Vec::new(),
        Verdict::Resources => return verdict::lacking(shape, node),
        Verdict::Tainted => {
            let taint = taints::untolerated(&node.info.taints, &shape.tolerations);
            let (key, value) = taint.map_or(("", ""), |taint| (&taint.key, &taint.value));
            return vec![format!("node(s) had untolerated taint {{{key}: {value}}}")];
        }
        Verdict::Cordoned => "node(s) were unschedulable",
        Verdict::Affinity => "node(s) didn't match Pod's node affinity/selector",
        Verdict::Ports => "node(s) didn't have free ports for the requested pod ports",
        Verdict::SpreadLabel => {
            "node(s) didn't match pod topology spread constraints (missing required label)"
        }
        Verdict::Spread => "node(s) didn't match pod topology spread constraints",
        Verdict::PodAffinity => "node(s) didn't match pod affinity rules",
        Verdict::PodAntiAffinity => "node(s) didn't match pod anti-affinity rules",
        Verdict::ExistingAntiAffinity => "node(s) didn't satisfy existing pods anti-affinity rules",
    };
    vec![text.to_owned()]
}
