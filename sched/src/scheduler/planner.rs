//! Decisions: which node a pod goes to, and why it goes to none.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use super::candidates::{Candidates, LARGE_DOMAINS_MAX};
use super::classes::ClassId;
use super::cluster::Cluster;
use super::node::NodeInfo;
use super::pod::{PodInfo, PodKey};
use super::preempt::Budget;
use super::score::Strategy;
use super::select::Labels;
use super::topology::Slot;
use super::verdict::Verdict;

/// Classes whose candidates are kept; the one that was not asked for longest goes first.
const CANDIDATES_MAX: usize = 128;

/// Decides where pods go. It knows what it is told, and does nothing but answer.
///
/// The same news in the same order give the same decisions, on every machine.
#[derive(Clone, Debug)]
pub struct Planner {
    pub(super) cluster: Cluster,
    strategy: Strategy,
    pub(super) large_max: usize,
    candidates: HashMap<ClassId, (u64, Candidates)>,
    asked: u64,
    pub(super) budgets: Vec<Budget>,
}

/// A node for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub node: Arc<str>,
    pub points: i64,
}

impl Planner {
    pub fn new(strategy: Strategy) -> Self {
        Self {
            cluster: Cluster::default(),
            strategy,
            large_max: LARGE_DOMAINS_MAX,
            candidates: HashMap::new(),
            asked: 0,
            budgets: Vec::new(),
        }
    }

    /// A node is there, or has changed.
    pub fn set_node(&mut self, node: &Node) {
        self.cluster.set_node(NodeInfo::new(node));
    }

    pub fn remove_node(&mut self, name: &str) {
        self.cluster.remove_node(name);
    }

    pub fn set_namespace(&mut self, name: &str, labels: Labels) {
        self.cluster.set_namespace(name, labels);
    }

    /// How many pods of which kinds may be disturbed.
    pub fn set_budgets(&mut self, budgets: Vec<Budget>) {
        self.budgets = budgets;
    }

    /// A pod is there, or has changed. What was assumed of it is kept if this is older.
    pub fn set_pod(&mut self, pod: &Pod) {
        self.set_pod_info(PodInfo::new(pod));
    }

    pub fn set_pod_info(&mut self, pod: PodInfo) {
        self.cluster.set_pod(pod);
    }

    pub fn remove_pod(&mut self, key: &PodKey) {
        self.cluster.remove_pod(key);
    }

    /// Goes on as if the pod were on the node, until that is confirmed or forgotten.
    pub fn assume(&mut self, key: &PodKey, node: &str) {
        self.cluster.assume(key, node);
    }

    pub fn confirm(&mut self, key: &PodKey) {
        self.cluster.confirm(key);
    }

    pub fn forget(&mut self, key: &PodKey) {
        self.cluster.forget(key);
    }

    /// Where a pod is, or is assumed to be.
    pub fn node_of(&self, key: &PodKey) -> Option<&str> {
        self.cluster.pod(key)?.node.as_deref()
    }

    /// Pods that are alike: what is decided of one holds for the other at the same moment.
    pub fn kind_of(&self, key: &PodKey) -> Option<(usize, Option<PodKey>)> {
        let known = self.cluster.pod(key)?;
        let is_alone = known.pinned.is_some() || known.nominated.is_some();
        Some((known.class, is_alone.then(|| key.clone())))
    }

    /// Changes with everything that could change a decision.
    pub fn position(&self) -> usize {
        self.cluster.log.position()
    }

    /// The priority of a pod, and when it was created, in seconds since 1970.
    pub fn rank_of(&self, key: &PodKey) -> Option<(i32, i64)> {
        let known = self.cluster.pod(key)?;
        Some((self.cluster.classes.get(known.class).shape.priority, known.created_s))
    }

    /// Whether pods that are placed elsewhere may make room for this one.
    pub fn waits_for_others(&self, key: &PodKey) -> bool {
        self.cluster.pod(key).is_some_and(|known| {
            let shape = &self.cluster.classes.get(known.class).shape;
            !shape.affinity.is_empty() || shape.spread.iter().any(|one| one.is_required)
        })
    }

    /// The best node for a pod that is known, if there is any. Changes nothing that it knows.
    pub fn place(&mut self, key: &PodKey) -> Option<Placement> {
        let known = self.cluster.pod(key)?;
        let (class, pinned) = (known.class, known.pinned.clone());
        let nominated = known.nominated.clone();
        if nominated.is_some() {
            // What is kept for it is for it.
            self.cluster.nominate(key, None);
        }
        let found = match (nominated.as_deref(), pinned) {
            (_, Some(names)) => self.best_of(class, &names),
            (Some(node), None) => self
                .best_of(class, std::slice::from_ref(&node.to_owned()))
                .or_else(|| self.best(class)),
            (None, None) => self.best(class),
        };
        if nominated.is_some() {
            self.cluster.nominate(key, nominated.as_deref());
        }
        let (slot, points) = found?;
        let node = self.cluster.node(slot)?.info.name.clone();
        Some(Placement { node, points })
    }

    fn best(&mut self, class: ClassId) -> Option<(Slot, i64)> {
        let (cluster, candidates) = self.candidates(class);
        candidates.best(cluster)
    }

    /// The best of a few nodes that are named.
    fn best_of(&mut self, class: ClassId, names: &[String]) -> Option<(Slot, i64)> {
        let (cluster, candidates) = self.candidates(class);
        let known = names.iter().filter_map(|name| cluster.slot(name));
        let fitting = known.filter_map(|slot| Some((slot, candidates.points(cluster, slot)?)));
        // The first of the best.
        fitting.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }

    /// What a class can be on, at this moment.
    pub(super) fn candidates(&mut self, class: ClassId) -> (&Cluster, &Candidates) {
        self.asked += 1;
        if !self.candidates.contains_key(&class) && self.candidates.len() >= CANDIDATES_MAX {
            let oldest = self.candidates.iter().min_by_key(|(_, (asked, _))| *asked);
            if let Some(oldest) = oldest.map(|(class, _)| *class) {
                self.candidates.remove(&oldest);
            }
        }
        let cluster = &self.cluster;
        let (asked, candidates) = self
            .candidates
            .entry(class)
            .or_insert_with(|| (0, Candidates::new(cluster, class, self.strategy, self.large_max)));
        *asked = self.asked;
        candidates.keep_up(cluster);
        (cluster, candidates)
    }

    pub(super) fn verdict(&mut self, class: ClassId, slot: Slot) -> Verdict {
        let (cluster, candidates) = self.candidates(class);
        candidates.verdict(cluster, slot)
    }

    #[cfg(test)]
    pub(super) fn forget_candidates(&mut self) {
        self.candidates.clear();
    }
}
