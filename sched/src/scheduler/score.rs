//! How well a pod of a class would be placed on a node: points, more are better.
//!
//! Integers only: the same state gives the same points on every machine. A score goes from 0 to
//! [`FULL`], and is multiplied by the weight that Kubernetes gives it.

use super::classes::Class;
use super::node::NodeState;
use super::taints;

/// The best score.
pub(super) const FULL: i64 = 100_000;

const RESOURCES_WEIGHT: i64 = 1;
const BALANCE_WEIGHT: i64 = 1;
const REPLICAS_WEIGHT: i64 = 2;
const NODE_AFFINITY_WEIGHT: i64 = 2;
const TAINTS_WEIGHT: i64 = 3;
/// Of what pods want of each other, and of spreading over domains where that is a preference.
pub(super) const DOMAINS_WEIGHT: i64 = 2;

/// Which of the nodes with room for a pod is best, all else being equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The one with most left: work is spread, and replicas of one kind even more.
    #[default]
    LeastAllocated,
    /// The one with least left: nodes are filled one after the other.
    MostAllocated,
}

impl std::str::FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "LeastAllocated" => Ok(Self::LeastAllocated),
            "MostAllocated" => Ok(Self::MostAllocated),
            _ => Err(format!("unknown strategy {text:?}: use LeastAllocated or MostAllocated")),
        }
    }
}

/// The points of a node, without those of its domains.
pub(super) fn of_node(class: &Class, id: usize, node: &NodeState, strategy: Strategy) -> i64 {
    let shape = &*class.shape;
    let used = [
        share(node.scored.cpu_milli, shape.scored.cpu_milli, node.info.allocatable.cpu_milli),
        share(
            node.scored.memory_bytes,
            shape.scored.memory_bytes,
            node.info.allocatable.memory_bytes,
        ),
    ];
    let average = i64::midpoint(used[0], used[1]);
    let mut points = BALANCE_WEIGHT * (FULL - (used[0] - used[1]).abs() / 2);
    match strategy {
        Strategy::LeastAllocated => {
            let replicas = i64::from(node.replicas.get(&id).copied().unwrap_or(0));
            points += RESOURCES_WEIGHT * (FULL - average);
            points += REPLICAS_WEIGHT * FULL / (1 + replicas);
        }
        Strategy::MostAllocated => points += RESOURCES_WEIGHT * average,
    }
    let dissuading = taints::dissuading(&node.info.taints, &shape.tolerations);
    points += TAINTS_WEIGHT * FULL / (1 + i64::try_from(dissuading).unwrap_or(i64::MAX - 1));
    points + NODE_AFFINITY_WEIGHT * wanted(class, node)
}

/// The part of a resource that is used with the pod there.
fn share(used: i64, asked: i64, allocatable: i64) -> i64 {
    if allocatable <= 0 {
        return FULL;
    }
    let part = i128::from(used.saturating_add(asked)) * i128::from(FULL) / i128::from(allocatable);
    i64::try_from(part).unwrap_or(FULL).clamp(0, FULL)
}

/// How much of what the pod prefers about nodes is so.
fn wanted(class: &Class, node: &NodeState) -> i64 {
    let preferred = &class.shape.preferred_nodes;
    let total: i64 = preferred.iter().map(|(weight, _)| weight).sum();
    if total <= 0 {
        return 0;
    }
    let is_so = |term: &super::select::NodeTerm| term.matches(&node.info.name, &node.info.labels);
    let sum: i64 = preferred.iter().filter(|(_, term)| is_so(term)).map(|(weight, _)| weight).sum();
    FULL * sum / total
}
