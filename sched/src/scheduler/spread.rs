//! Topology spread: how many pods of a set there are in each domain that counts for a class.
//!
//! Only nodes count that pods of the class could be on, so each class has its own numbers. They are
//! kept up node by node.

use std::collections::{BTreeMap, HashMap};

use super::classes::Class;
use super::cluster::Cluster;
use super::node::NodeState;
use super::pod::Spread;
use super::score::FULL;
use super::taints;
use super::terms::TermId;
use super::topology::{DomainId, Slot, TopologyId};
use super::verdict;

/// The numbers of one constraint of a class.
#[derive(Clone, Debug)]
pub(super) struct Spreading {
    pub term: TermId,
    pub topology: TopologyId,
    pub is_required: bool,
    skew_max: i64,
    domains_min: usize,
    /// The pod that is placed will count itself.
    own: i64,
    /// What each node counts for.
    seen: HashMap<Slot, (DomainId, i64)>,
    /// Nodes and pods by domain.
    domains: HashMap<DomainId, (usize, i64)>,
    /// How many domains have so many pods.
    by_count: BTreeMap<i64, usize>,
}

impl Spreading {
    /// The constraints of a class, with nothing counted.
    pub(super) fn of_class(cluster: &Cluster, class: &Class) -> Vec<Self> {
        let constraints = class.spread.iter().zip(&class.shape.spread);
        let known = constraints.filter_map(|(id, spread)| {
            let term = cluster.terms.get(*id)?;
            Some(Self {
                term: *id,
                topology: term.topology,
                is_required: spread.is_required,
                skew_max: spread.skew_max,
                domains_min: usize::try_from(spread.domains_min).unwrap_or(0),
                own: i64::from(class.matches.contains(id)),
                seen: HashMap::new(),
                domains: HashMap::new(),
                by_count: BTreeMap::new(),
            })
        });
        known.collect()
    }

    /// The fewest pods in any domain.
    pub(super) fn least(&self) -> i64 {
        if self.domains.len() < self.domains_min {
            return 0;
        }
        self.by_count.keys().next().copied().unwrap_or(0)
    }

    pub(super) fn has_room(&self, domain: DomainId) -> bool {
        self.count(domain) + self.own - self.least() <= self.skew_max
    }

    /// The points of a domain, where spreading is a preference.
    pub(super) fn points(&self, domain: DomainId) -> i64 {
        FULL * self.skew_max / (self.skew_max + self.count(domain))
    }

    fn count(&self, domain: DomainId) -> i64 {
        self.domains.get(&domain).map_or(0, |(_, pods)| *pods)
    }

    /// Sets what a node counts for. The domains that changed go to `changed`.
    fn set(
        &mut self,
        slot: Slot,
        new: Option<(DomainId, i64)>,
        changed: &mut Vec<(TopologyId, DomainId)>,
    ) {
        let old = match new {
            Some(new) => self.seen.insert(slot, new),
            None => self.seen.remove(&slot),
        };
        if old == new {
            return;
        }
        changed.extend(new.iter().chain(&old).map(|(domain, _)| (self.topology, *domain)));
        if let Some((domain, pods)) = new {
            self.change(domain, 1, pods);
        }
        if let Some((domain, pods)) = old {
            self.change(domain, -1, -pods);
        }
    }

    fn change(&mut self, domain: DomainId, nodes_by: isize, pods_by: i64) {
        let is_new = !self.domains.contains_key(&domain);
        let (nodes, pods) = self.domains.entry(domain).or_default();
        let before = *pods;
        *nodes = nodes.saturating_add_signed(nodes_by);
        *pods += pods_by;
        let (after, is_empty) = (*pods, *nodes == 0);
        if is_empty {
            self.domains.remove(&domain);
        } else {
            *self.by_count.entry(after).or_default() += 1;
        }
        if !is_new && let Some(count) = self.by_count.get_mut(&before) {
            *count -= 1;
            if *count == 0 {
                self.by_count.remove(&before);
            }
        }
    }
}

/// Counts one node anew, for all constraints of a class; returns the domains that changed.
pub(super) fn count(
    all: &mut [Spreading],
    cluster: &Cluster,
    class: &Class,
    slot: Slot,
) -> Vec<(TopologyId, DomainId)> {
    let mut changed = Vec::new();
    if all.is_empty() {
        return changed;
    }
    let node = cluster.node(slot);
    let domains: Vec<Option<DomainId>> =
        all.iter().map(|one| cluster.topologies.domain(one.topology, slot)).collect();
    // A node counts if it has all labels that the constraints of its kind ask for.
    let has_all = |is_required: bool, all: &[Spreading]| {
        let of_kind = all.iter().zip(&domains).filter(|(one, _)| one.is_required == is_required);
        of_kind.into_iter().all(|(_, domain)| domain.is_some())
    };
    let has_all = [has_all(false, all), has_all(true, all)];
    for ((one, spread), domain) in all.iter_mut().zip(&class.shape.spread).zip(&domains) {
        let counts = node.is_some_and(|node| is_eligible(class, spread, node))
            && has_all[usize::from(one.is_required)];
        let pods = || cluster.terms.get(one.term).map_or(0, |term| term.on(slot));
        let new = domain.filter(|_| counts).map(|domain| (domain, pods()));
        one.set(slot, new, &mut changed);
    }
    changed
}

fn is_eligible(class: &Class, spread: &Spread, node: &NodeState) -> bool {
    let shape = &*class.shape;
    (!spread.honors_affinity || verdict::is_wanted(shape, node))
        && (!spread.honors_taints
            || taints::untolerated(&node.info.taints, &shape.tolerations).is_none())
}
