//! Bindings under way: one transaction at a time for each node, many nodes at once.
//!
//! A second transaction for a node could only hold if it knew the revision of the first. So what is
//! decided meanwhile waits, and goes along with the next one.

use std::collections::HashMap;
use std::sync::Arc;

use super::pod::PodKey;

/// Pods in one transaction. etcd takes 128 operations.
const PODS_MAX: usize = 32;

/// Fewer lanes are kept without a look at them.
const LANES_MIN: usize = 64;

/// A decision that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub key: PodKey,
    /// The node's mod revision when it was chosen.
    pub node_revision: i64,
    /// All pods were known up to here.
    pub known: i64,
}

#[derive(Debug, Default)]
struct Lane {
    is_busy: bool,
    waiting: Vec<Decision>,
    /// The revision of the last binding of our own: all bindings up to it are known.
    own: i64,
}

#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<Arc<str>, Lane>,
    busy: usize,
    waiting: usize,
    /// With so many lanes it is time to look which are needed.
    tidy_at: usize,
}

impl Lanes {
    pub(super) fn add(&mut self, node: &Arc<str>, decision: Decision) {
        self.lanes.entry(node.clone()).or_default().waiting.push(decision);
        self.waiting += 1;
    }

    /// Transactions under way.
    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    /// Decisions that wait for the one before.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes what may be written to a node now, with the revision up to which all bindings to it
    /// are known. `None`: nothing, or one is under way.
    pub(super) fn take(&mut self, node: &str) -> Option<(Vec<Decision>, i64)> {
        let lane = self.lanes.get_mut(node)?;
        if lane.is_busy || lane.waiting.is_empty() {
            return None;
        }
        let count = lane.waiting.len().min(PODS_MAX);
        let batch: Vec<Decision> = lane.waiting.drain(..count).collect();
        let known = batch.iter().map(|decision| decision.known).min().unwrap_or(0);
        lane.is_busy = true;
        self.busy += 1;
        self.waiting -= count;
        Some((batch, known.max(lane.own)))
    }

    /// The transaction of a node has ended: at this revision all of it was written.
    pub(super) fn written(&mut self, node: &str, revision: i64) {
        if let Some(lane) = self.end(node) {
            lane.own = lane.own.max(revision);
        }
    }

    /// The transaction of a node has failed: what waits there was decided without knowing why, and
    /// has to be decided again.
    pub(super) fn failed(&mut self, node: &str) -> Vec<Decision> {
        let waiting = self.end(node).map(|lane| std::mem::take(&mut lane.waiting));
        let waiting = waiting.unwrap_or_default();
        self.waiting -= waiting.len();
        waiting
    }

    fn end(&mut self, node: &str) -> Option<&mut Lane> {
        let lane = self.lanes.get_mut(node).filter(|lane| lane.is_busy)?;
        lane.is_busy = false;
        self.busy -= 1;
        Some(lane)
    }

    /// Forgets the lanes that say nothing which is not known by now anyway, once they have become
    /// many.
    pub(super) fn tidy(&mut self, known: i64) {
        if self.lanes.len() < self.tidy_at {
            return;
        }
        self.lanes.retain(|_, lane| lane.is_busy || !lane.waiting.is_empty() || lane.own > known);
        self.tidy_at = 2 * self.lanes.len() + LANES_MIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(name: &str, known: i64) -> Decision {
        Decision { key: PodKey::new("default", name), node_revision: 1, known }
    }

    #[test]
    fn a_node_has_one_transaction_at_a_time() {
        // Proves that decisions wait for the one before and go together then, with what is known
        // from our own; and that a failure gives them all back.
        let (mut lanes, node) = (Lanes::default(), Arc::from("n"));
        lanes.add(&node, decision("a", 5));
        let (first, known) = lanes.take("n").unwrap();
        assert_eq!((first.len(), known), (1, 5));
        lanes.add(&node, decision("b", 6));
        lanes.add(&node, decision("c", 7));
        assert!(lanes.take("n").is_none());
        lanes.written("n", 9);
        let (second, known) = lanes.take("n").unwrap();
        assert_eq!((second.len(), known, lanes.busy(), lanes.waiting()), (2, 9, 1, 0));
        lanes.add(&node, decision("d", 8));
        assert_eq!(lanes.failed("n"), [decision("d", 8)]);
        assert_eq!((lanes.busy(), lanes.waiting()), (0, 0));
        lanes.tidy_at = 0;
        lanes.tidy(8);
        lanes.add(&node, decision("e", 8));
        assert_eq!(lanes.take("n").unwrap().1, 9);
        lanes.written("n", 10);
        lanes.tidy_at = 0;
        lanes.tidy(10);
        assert!(lanes.lanes.is_empty());
    }
}
