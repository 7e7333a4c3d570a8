//! Whether a pod of a class can be on a node, and if not, why.
//!
//! The questions are asked in Kubernetes' order, and the first that is answered with no is the
//! reason. Those here depend on the node alone; [`super::domains`] asks about its domains.

use super::classes::Class;
use super::node::NodeState;
use super::pod::Shape;
use super::taints::{self, Taint, Toleration};

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Fits,
    Cordoned,
    Tainted,
    Affinity,
    Ports,
    Resources,
    /// It lacks a label that pods are to be spread by.
    SpreadLabel,
    Spread,
    PodAffinity,
    PodAntiAffinity,
    /// Pods that are there keep it out.
    ExistingAntiAffinity,
    /// There is no such node.
    Gone,
}

impl Verdict {
    /// Whether fewer pods on the node could change it.
    pub(super) fn depends_on_pods(self) -> bool {
        matches!(
            self,
            Self::Ports
                | Self::Resources
                | Self::Spread
                | Self::PodAntiAffinity
                | Self::ExistingAntiAffinity
        )
    }
}

/// What the node itself says.
pub(super) fn of_node(class: &Class, node: &NodeState) -> Verdict {
    let shape = &*class.shape;
    if node.info.is_cordoned && !tolerates_cordon(&shape.tolerations) {
        Verdict::Cordoned
    } else if taints::untolerated(&node.info.taints, &shape.tolerations).is_some() {
        Verdict::Tainted
    } else if !is_wanted(shape, node) {
        Verdict::Affinity
    } else if shape.ports.iter().any(|port| node.is_taken(port)) {
        Verdict::Ports
    } else if has_room(shape, node) {
        Verdict::Fits
    } else {
        Verdict::Resources
    }
}

fn tolerates_cordon(tolerations: &[Toleration]) -> bool {
    !tolerations.is_empty()
        && taints::is_tolerated(&Taint::no_schedule(taints::CORDONED), tolerations)
}

/// Whether the node selector and the node affinity choose this node.
pub(super) fn is_wanted(shape: &Shape, node: &NodeState) -> bool {
    let labels = &node.info.labels;
    shape.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        && shape
            .node_terms
            .as_ref()
            .is_none_or(|terms| terms.iter().any(|term| term.matches(&node.info.name, labels)))
}

fn has_room(shape: &Shape, node: &NodeState) -> bool {
    if !node.nominated.is_empty() {
        return lacking(shape, node).is_empty();
    }
    let count = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
    count < node.info.pods_max
        && shape.requests.lacking(&node.used, &node.info.allocatable).next().is_none()
}

/// What the node has too little of, in the words that Kubernetes uses.
pub(super) fn lacking(shape: &Shape, node: &NodeState) -> Vec<String> {
    let mut used = node.used.clone();
    let mut count = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
    if let Some((kept, pods)) = node.kept_for(shape.priority) {
        used.add(&kept);
        count = count.saturating_add(pods);
    }
    let mut lacking = Vec::new();
    if count >= node.info.pods_max {
        lacking.push("Too many pods".to_owned());
    }
    let names = shape.requests.lacking(&used, &node.info.allocatable);
    lacking.extend(names.map(|name| format!("Insufficient {name}")));
    lacking
}
