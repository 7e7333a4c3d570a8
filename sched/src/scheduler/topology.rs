//! Domains: the nodes that have the same value of a label (a zone, a rack, a host name).

use std::collections::{BTreeSet, HashMap};

use super::select::Labels;

/// A key, by its place.
pub(super) type TopologyId = usize;
/// A value of a key, by its place.
pub(super) type DomainId = usize;
/// A node, by its place.
pub(super) type Slot = usize;

/// All keys that some pod asks about.
#[derive(Clone, Debug, Default)]
pub(super) struct Topologies {
    all: Vec<Topology>,
    by_key: HashMap<String, TopologyId>,
}

#[derive(Clone, Debug, Default)]
struct Topology {
    key: String,
    domains: HashMap<String, DomainId>,
    /// Nodes by domain.
    nodes: Vec<BTreeSet<Slot>>,
    /// Domains by node.
    of: Vec<Option<DomainId>>,
    /// Domains with nodes.
    inhabited: usize,
}

impl Topologies {
    pub(super) fn id(&self, key: &str) -> Option<TopologyId> {
        self.by_key.get(key).copied()
    }

    /// Begins to keep the domains of a key. The nodes that there are must be entered then.
    pub(super) fn add(&mut self, key: &str) -> TopologyId {
        let id = self.all.len();
        self.by_key.insert(key.to_owned(), id);
        self.all.push(Topology { key: key.to_owned(), ..Topology::default() });
        id
    }

    pub(super) fn enter(&mut self, slot: Slot, labels: &Labels) {
        for id in 0..self.all.len() {
            self.enter_one(id, slot, labels);
        }
    }

    pub(super) fn enter_one(&mut self, id: TopologyId, slot: Slot, labels: &Labels) {
        let topology = &mut self.all[id];
        let Some(value) = labels.get(&topology.key) else { return };
        let new = topology.nodes.len();
        let domain = *topology.domains.entry(value.clone()).or_insert(new);
        if domain == new {
            topology.nodes.push(BTreeSet::new());
        }
        topology.inhabited += usize::from(topology.nodes[domain].is_empty());
        topology.nodes[domain].insert(slot);
        if topology.of.len() <= slot {
            topology.of.resize(slot + 1, None);
        }
        topology.of[slot] = Some(domain);
    }

    pub(super) fn leave(&mut self, slot: Slot) {
        for topology in &mut self.all {
            let Some(domain) = topology.of.get_mut(slot).and_then(Option::take) else { continue };
            topology.nodes[domain].remove(&slot);
            topology.inhabited -= usize::from(topology.nodes[domain].is_empty());
        }
    }

    /// The domain that a node is in.
    pub(super) fn domain(&self, id: TopologyId, slot: Slot) -> Option<DomainId> {
        self.all[id].of.get(slot).copied().flatten()
    }

    pub(super) fn nodes(&self, id: TopologyId, domain: DomainId) -> &BTreeSet<Slot> {
        &self.all[id].nodes[domain]
    }

    /// How many domains have nodes.
    pub(super) fn inhabited(&self, id: TopologyId) -> usize {
        self.all[id].inhabited
    }
}
