//! The nodes that pods of one class can be on, best first, kept up change by change.
//!
//! Nodes are sorted into buckets by their large domains (few of a key, each with many nodes: zones),
//! and within a bucket by the points of the node itself. What a large domain says, it says of a
//! whole bucket, so it is asked when a pod is placed, once for each bucket; what a node and its
//! small domains say is worked out again only when something there has changed. So a pod costs a few
//! buckets and the nodes that changed since the last pod of its class, not all nodes.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::classes::{Class, ClassId};
use super::cluster::Cluster;
use super::domains::{Domains, Place};
use super::log::Change;
use super::score::{self, DOMAINS_WEIGHT, Strategy};
use super::spread::{self, Spreading};
use super::topology::{DomainId, Slot, TopologyId};
use super::verdict::{self, Verdict};

/// A key with at most so many domains makes buckets, unless a test says otherwise.
pub(super) const LARGE_DOMAINS_MAX: usize = 32;

/// A node in the order of its bucket: more points first, then by name.
type Rank = (Reverse<i64>, Arc<str>, Slot);

#[derive(Clone, Debug)]
pub(super) struct Candidates {
    id: ClassId,
    strategy: Strategy,
    large_max: usize,
    /// How far the log has been read.
    position: usize,
    /// The class as it was.
    epoch: u64,
    nodes_when_built: usize,
    /// Keys with few domains.
    large: Vec<TopologyId>,
    /// Keys with many.
    small: Vec<TopologyId>,
    buckets: Vec<Bucket>,
    by_domains: HashMap<Vec<Option<DomainId>>, usize>,
    entries: Vec<Entry>,
    spreading: Vec<Spreading>,
    is_first: bool,
    least: Vec<i64>,
}

#[derive(Clone, Debug)]
struct Bucket {
    /// For each key in `large`.
    domains: Vec<Option<DomainId>>,
    order: BTreeSet<Rank>,
}

#[derive(Clone, Debug)]
struct Entry {
    bucket: usize,
    verdict: Verdict,
    rank: Option<Rank>,
}

impl Candidates {
    /// Works everything out. Looks at every node.
    pub(super) fn new(
        cluster: &Cluster,
        id: ClassId,
        strategy: Strategy,
        large_max: usize,
    ) -> Self {
        let class = cluster.classes.get(id);
        let mut new = Self {
            id,
            strategy,
            large_max,
            position: cluster.log.position(),
            epoch: class.epoch,
            nodes_when_built: cluster.nodes_count(),
            large: Vec::new(),
            small: Vec::new(),
            buckets: Vec::new(),
            by_domains: HashMap::new(),
            entries: Vec::new(),
            spreading: Spreading::of_class(cluster, class),
            is_first: is_first(cluster, class),
            least: Vec::new(),
        };
        let keys: BTreeSet<TopologyId> = class
            .owned()
            .chain(class.matches.iter().copied())
            .filter_map(|id| Some(cluster.terms.get(id)?.topology))
            .collect();
        (new.large, new.small) =
            keys.into_iter().partition(|key| cluster.topologies.inhabited(*key) <= large_max);
        new.work_out_all(cluster, class);
        new
    }

    fn work_out_all(&mut self, cluster: &Cluster, class: &Class) {
        let all: Vec<Slot> = (0..cluster.slots_count()).collect();
        for slot in &all {
            spread::count(&mut self.spreading, cluster, class, *slot);
        }
        self.least = self.least_of_small();
        for slot in all {
            self.work_out(cluster, class, slot);
        }
    }

    /// Catches up with what has changed.
    pub(super) fn keep_up(&mut self, cluster: &Cluster) {
        let class = cluster.classes.get(self.id);
        let has_grown = cluster.nodes_count() > 2 * self.nodes_when_built + self.large_max;
        let behind = cluster.log.position() - self.position;
        let Some(changes) = cluster.log.since(self.position) else {
            return *self = Self::new(cluster, self.id, self.strategy, self.large_max);
        };
        if class.epoch != self.epoch || has_grown || behind > 4 * cluster.slots_count() + 64 {
            return *self = Self::new(cluster, self.id, self.strategy, self.large_max);
        }
        let mut changed: Vec<Slot> = Vec::new();
        for change in changes {
            self.reach(cluster, class, change, &mut changed);
        }
        self.position = cluster.log.position();
        changed.sort_unstable();
        changed.dedup();
        for at in 0..changed.len() {
            let domains = spread::count(&mut self.spreading, cluster, class, changed[at]);
            let small = domains.into_iter().filter(|(key, _)| self.small.contains(key));
            small.for_each(|(key, domain)| changed.extend(cluster.topologies.nodes(key, domain)));
        }
        changed.sort_unstable();
        changed.dedup();
        let (least, is_first) = (self.least_of_small(), is_first(cluster, class));
        if (&least, is_first) != (&self.least, self.is_first) {
            (self.least, self.is_first) = (least, is_first);
            changed = (0..cluster.slots_count()).collect();
        }
        for slot in changed {
            self.work_out(cluster, class, slot);
        }
    }

    /// The nodes that a change concerns.
    fn reach(&self, cluster: &Cluster, class: &Class, change: Change, changed: &mut Vec<Slot>) {
        let (id, domain) = match change {
            Change::Node(slot) => return changed.push(slot),
            Change::Term(id, domain) => (id, domain),
        };
        let Some(term) = cluster.terms.get(id) else { return };
        let is_asked = class.matches.contains(&id) || class.owned().any(|own| own == id);
        if is_asked && self.small.contains(&term.topology) {
            changed.extend(cluster.topologies.nodes(term.topology, domain));
        }
    }

    /// The fewest pods per domain, where the domains are small: each node was judged by them.
    fn least_of_small(&self) -> Vec<i64> {
        let small = self.spreading.iter().filter(|one| self.small.contains(&one.topology));
        small.map(Spreading::least).collect()
    }

    /// Judges one node anew.
    fn work_out(&mut self, cluster: &Cluster, class: &Class, slot: Slot) {
        if let Some(Entry { bucket, rank: Some(rank), .. }) = self.entries.get(slot) {
            self.buckets[*bucket].order.remove(rank);
        }
        let entry = self.judge(cluster, class, slot);
        if let Some(rank) = &entry.rank {
            self.buckets[entry.bucket].order.insert(rank.clone());
        }
        while self.entries.len() <= slot {
            self.entries.push(Entry { bucket: 0, verdict: Verdict::Gone, rank: None });
        }
        self.entries[slot] = entry;
    }

    fn judge(&mut self, cluster: &Cluster, class: &Class, slot: Slot) -> Entry {
        let Some(node) = cluster.node(slot) else {
            return Entry { bucket: 0, verdict: Verdict::Gone, rank: None };
        };
        let bucket = self.bucket(cluster, slot);
        let domains = self.domains(cluster, class);
        let places = |key: TopologyId| match cluster.topologies.domain(key, slot) {
            _ if !self.small.contains(&key) => Place::NotHere,
            Some(domain) => Place::In(domain),
            None => Place::Nowhere,
        };
        let mut verdict = verdict::of_node(class, node);
        if verdict == Verdict::Fits && !self.small.is_empty() {
            verdict = domains.verdict(&places);
        }
        if verdict != Verdict::Fits {
            return Entry { bucket, verdict, rank: None };
        }
        let mut points = score::of_node(class, self.id, node, self.strategy);
        if !self.small.is_empty() {
            points += DOMAINS_WEIGHT * domains.points(&places);
        }
        Entry { bucket, verdict, rank: Some((Reverse(points), node.info.name.clone(), slot)) }
    }

    fn bucket(&mut self, cluster: &Cluster, slot: Slot) -> usize {
        let domains: Vec<Option<DomainId>> =
            self.large.iter().map(|key| cluster.topologies.domain(*key, slot)).collect();
        if let Some(bucket) = self.by_domains.get(&domains) {
            return *bucket;
        }
        self.buckets.push(Bucket { domains: domains.clone(), order: BTreeSet::new() });
        self.by_domains.insert(domains, self.buckets.len() - 1);
        self.buckets.len() - 1
    }

    fn domains<'a>(&'a self, cluster: &'a Cluster, class: &'a Class) -> Domains<'a> {
        Domains { cluster, class, spreading: &self.spreading, is_first: self.is_first }
    }

    /// The best node, with its points. Call [`Self::keep_up`] first, as for all that follow.
    pub(super) fn best(&self, cluster: &Cluster) -> Option<(Slot, i64)> {
        let class = cluster.classes.get(self.id);
        let domains = self.domains(cluster, class);
        let mut best: Option<(Reverse<i64>, &Arc<str>, Slot)> = None;
        for bucket in &self.buckets {
            let Some((Reverse(points), name, slot)) = bucket.order.first() else { continue };
            let places = |key: TopologyId| self.place_of(bucket, key);
            if domains.verdict(&places) != Verdict::Fits {
                continue;
            }
            let points = points + DOMAINS_WEIGHT * domains.points(&places);
            let found = (Reverse(points), name, *slot);
            if best.is_none_or(|best| found < best) {
                best = Some(found);
            }
        }
        best.map(|(Reverse(points), _, slot)| (slot, points))
    }

    fn place_of(&self, bucket: &Bucket, key: TopologyId) -> Place {
        match self.large.iter().position(|large| *large == key) {
            None => Place::NotHere,
            Some(at) => bucket.domains[at].map_or(Place::Nowhere, Place::In),
        }
    }

    /// Whether a pod of the class can be on this node.
    pub(super) fn verdict(&self, cluster: &Cluster, slot: Slot) -> Verdict {
        let Some(entry) = self.entries.get(slot) else { return Verdict::Gone };
        if entry.verdict != Verdict::Fits {
            return entry.verdict;
        }
        self.verdict_of_bucket(cluster, entry.bucket)
    }

    fn verdict_of_bucket(&self, cluster: &Cluster, bucket: usize) -> Verdict {
        let class = cluster.classes.get(self.id);
        let bucket = &self.buckets[bucket];
        self.domains(cluster, class).verdict(&|key| self.place_of(bucket, key))
    }

    /// The points of a node that a pod of the class can be on.
    pub(super) fn points(&self, cluster: &Cluster, slot: Slot) -> Option<i64> {
        let entry = self.entries.get(slot)?;
        let (Reverse(points), ..) = entry.rank.as_ref()?;
        let bucket = &self.buckets[entry.bucket];
        let places = |key: TopologyId| self.place_of(bucket, key);
        let domains = self.domains(cluster, cluster.classes.get(self.id));
        (domains.verdict(&places) == Verdict::Fits)
            .then(|| points + DOMAINS_WEIGHT * domains.points(&places))
    }
}

/// Whether a pod that must be beside others is the first of them, and one of them itself.
fn is_first(cluster: &Cluster, class: &Class) -> bool {
    let mut terms = class.affinity.iter();
    !class.affinity.is_empty()
        && terms.all(|id| {
            class.matches.contains(id) && cluster.terms.get(*id).is_some_and(|term| term.total == 0)
        })
}
