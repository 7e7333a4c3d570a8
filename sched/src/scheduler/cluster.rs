//! What the planner knows: nodes, the pods on them, and the sums and counts that follow from both.
//!
//! Every change costs what it touches, never a walk over all nodes or all pods. Everything that is
//! worked out elsewhere is kept up by the [`Log`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::classes::{Class, ClassId, Classes};
use super::log::{Change, Log};
use super::node::{NodeInfo, NodeState};
use super::pod::{PodInfo, PodKey, PodTerm, Shape};
use super::select::Labels;
use super::terms::{TermId, Terms};
use super::topology::{Slot, Topologies};

/// A pod that is known.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub uid: Arc<str>,
    pub class: ClassId,
    pub pinned: Option<Arc<[String]>>,
    /// The node that it is on, also if the node is not known.
    pub node: Option<Arc<str>>,
    slot: Option<Slot>,
    /// Where it was put by a decision that is not confirmed yet.
    pub is_assumed: bool,
    pub is_terminating: bool,
    pub nominated: Option<Arc<str>>,
    pub created_s: i64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    slots: Vec<Option<NodeState>>,
    free: Vec<Slot>,
    by_name: BTreeMap<Arc<str>, Slot>,
    pods: HashMap<PodKey, Known>,
    /// Pods on nodes that are not known, by the node's name.
    orphans: BTreeMap<Arc<str>, BTreeSet<PodKey>>,
    namespaces: HashMap<String, Labels>,
    pub classes: Classes,
    pub terms: Terms,
    pub topologies: Topologies,
    pub log: Log,
}

impl Cluster {
    pub(super) fn node(&self, slot: Slot) -> Option<&NodeState> {
        self.slots.get(slot).and_then(Option::as_ref)
    }

    pub(super) fn slot(&self, name: &str) -> Option<Slot> {
        self.by_name.get(name).copied()
    }

    /// Places of nodes, in the order of names.
    pub(super) fn nodes(&self) -> impl Iterator<Item = Slot> + '_ {
        self.by_name.values().copied()
    }

    pub(super) fn nodes_count(&self) -> usize {
        self.by_name.len()
    }

    /// Above every place that a node has or had.
    pub(super) fn slots_count(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn pod(&self, key: &PodKey) -> Option<&Known> {
        self.pods.get(key)
    }

    pub(super) fn set_node(&mut self, info: NodeInfo) {
        let Some(slot) = self.slot(&info.name) else { return self.add_node(info) };
        let Some(state) = self.slots[slot].as_mut() else { return };
        if state.info == info {
            return;
        }
        let has_moved = state.info.labels != info.labels;
        if has_moved {
            self.count_all_on(slot, -1);
            self.topologies.leave(slot);
            self.topologies.enter(slot, &info.labels);
        }
        if let Some(state) = self.slots[slot].as_mut() {
            state.info = info;
        }
        if has_moved {
            self.count_all_on(slot, 1);
        }
        self.log.add(Change::Node(slot));
    }

    fn add_node(&mut self, info: NodeInfo) {
        let name = info.name.clone();
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.topologies.enter(slot, &info.labels);
        self.slots[slot] = Some(NodeState::new(info));
        self.by_name.insert(name.clone(), slot);
        self.log.add(Change::Node(slot));
        for key in self.orphans.remove(&name).unwrap_or_default() {
            self.put(&key, name.clone());
        }
    }

    /// Its pods stay known: they may still run there, and the node may come back.
    pub(super) fn remove_node(&mut self, name: &str) {
        let Some((name, slot)) = self.by_name.remove_entry(name) else { return };
        let pods = self.node(slot).map(|state| state.pods.clone()).unwrap_or_default();
        for key in &pods {
            self.take(key);
        }
        for key in &pods {
            self.put(key, name.clone());
        }
        self.topologies.leave(slot);
        self.slots[slot] = None;
        self.free.push(slot);
        self.log.add(Change::Node(slot));
    }

    pub(super) fn set_namespace(&mut self, name: &str, labels: Labels) {
        if self.namespaces.get(name) == Some(&labels) {
            return;
        }
        self.namespaces.insert(name.to_owned(), labels);
        let classes: Vec<ClassId> = self.classes.ids().collect();
        for class in classes {
            if self.classes.get(class).shape.namespace == name {
                self.match_again(class);
            }
        }
    }

    /// Takes note of a pod that is there, wherever it is.
    pub(super) fn set_pod(&mut self, info: PodInfo) {
        let node: Option<Arc<str>> = info.node.as_deref().filter(|_| !info.is_done).map(Arc::from);
        let known = self.pods.get(&info.key).filter(|known| *known.uid == *info.uid);
        // Told of by somebody who does not know the decision yet.
        let assumed = known.filter(|known| known.is_assumed && node.is_none() && !info.is_done);
        let (is_assumed, assumed) =
            (assumed.is_some(), assumed.and_then(|known| known.node.clone()));
        let nominated = known.and_then(|known| known.nominated.clone());
        let nominated = info.nominated.as_deref().map(Arc::from).or(nominated);
        let node = assumed.or(node);
        let class = self.join(info.shape);
        let is_same = self.pods.get(&info.key).is_some_and(|known| {
            (&*known.uid, known.class, &known.node, known.is_terminating)
                == (&*info.uid, class, &node, info.is_terminating)
                && node.is_some()
        });
        if is_same {
            self.leave(class);
            if !is_assumed {
                self.confirm(&info.key);
            }
            return;
        }
        self.remove_pod(&info.key);
        let known = Known {
            uid: info.uid.into(),
            class,
            pinned: info.pinned.map(Into::into),
            node: None,
            slot: None,
            is_assumed: false,
            is_terminating: info.is_terminating,
            nominated: None,
            created_s: info.created_s,
        };
        self.pods.insert(info.key.clone(), known);
        match node {
            Some(node) if is_assumed => self.assume(&info.key, &node),
            Some(node) => self.put(&info.key, node),
            None if !info.is_done => self.nominate(&info.key, nominated.as_deref()),
            None => {}
        }
    }

    pub(super) fn remove_pod(&mut self, key: &PodKey) {
        self.take(key);
        self.nominate(key, None);
        if let Some(known) = self.pods.remove(key) {
            self.leave(known.class);
        }
    }

    /// Puts a pod on a node before anybody else knows.
    pub(super) fn assume(&mut self, key: &PodKey, node: &str) {
        self.nominate(key, None);
        self.put(key, node.into());
        if let Some(known) = self.pods.get_mut(key) {
            known.is_assumed = true;
        }
    }

    /// What was assumed is so.
    pub(super) fn confirm(&mut self, key: &PodKey) {
        if let Some(known) = self.pods.get_mut(key) {
            known.is_assumed = false;
        }
    }

    /// What was assumed is not so.
    pub(super) fn forget(&mut self, key: &PodKey) {
        if self.pods.get(key).is_some_and(|known| known.is_assumed) {
            self.take(key);
        }
    }

    /// Keeps room for a pod on a node, or no longer on any.
    pub(super) fn nominate(&mut self, key: &PodKey, node: Option<&str>) {
        let Some(known) = self.pods.get_mut(key) else { return };
        let before = std::mem::replace(&mut known.nominated, node.map(Into::into));
        let shape = self.classes.get(known.class).shape.clone();
        if let Some(slot) = before.and_then(|name| self.slot(&name)) {
            if let Some(state) = self.slots[slot].as_mut() {
                state.nominated.remove(key);
            }
            self.log.add(Change::Node(slot));
        }
        if let Some(slot) = node.and_then(|name| self.slot(name)) {
            if let Some(state) = self.slots[slot].as_mut() {
                state.nominated.insert(key.clone(), (shape.priority, shape.requests.clone()));
            }
            self.log.add(Change::Node(slot));
        }
    }

    /// Lets a pod count on a node.
    pub(super) fn put(&mut self, key: &PodKey, node: Arc<str>) {
        let slot = self.slot(&node);
        let Some(known) = self.pods.get_mut(key) else { return };
        known.node = Some(node.clone());
        known.slot = slot;
        let Some(slot) = slot else {
            self.orphans.entry(node).or_default().insert(key.clone());
            return;
        };
        self.account(key, slot, 1);
        self.count(key, slot, 1);
        self.log.add(Change::Node(slot));
    }

    /// Lets a pod count nowhere.
    pub(super) fn take(&mut self, key: &PodKey) {
        let Some(known) = self.pods.get_mut(key) else { return };
        let (node, slot) = (known.node.take(), known.slot.take());
        known.is_assumed = false;
        if let Some(slot) = slot {
            self.account(key, slot, -1);
            self.count(key, slot, -1);
            self.log.add(Change::Node(slot));
        } else if let Some(node) = node
            && let Some(pods) = self.orphans.get_mut(&node)
        {
            pods.remove(key);
            if pods.is_empty() {
                self.orphans.remove(&node);
            }
        }
    }

    /// The sums of a node with a pod more (1) or less (-1).
    fn account(&mut self, key: &PodKey, slot: Slot, by: i32) {
        let class = self.pods[key].class;
        let shape = self.classes.get(class).shape.clone();
        let Some(state) = self.slots[slot].as_mut() else { return };
        let sums = state.by_priority.entry(shape.priority).or_default();
        sums.1 += i64::from(by);
        if by > 0 {
            sums.0.add(&shape.requests);
            state.pods.insert(key.clone());
            state.used.add(&shape.requests);
        } else {
            sums.0.subtract(&shape.requests);
            state.pods.remove(key);
            state.used.subtract(&shape.requests);
        }
        if sums.1 == 0 {
            state.by_priority.remove(&shape.priority);
        }
        state.scored.cpu_milli += i64::from(by) * shape.scored.cpu_milli;
        state.scored.memory_bytes += i64::from(by) * shape.scored.memory_bytes;
        change(&mut state.replicas, class, by);
        for port in &shape.ports {
            change(&mut state.ports, port.clone(), by);
        }
    }

    /// The terms that a pod matches and owns, with it more (1) or less (-1) on a node.
    fn count(&mut self, key: &PodKey, slot: Slot, by: i64) {
        let Self { classes, terms, topologies, log, pods, .. } = self;
        let Some(known) = pods.get(key) else { return };
        let class = classes.get(known.class);
        let mut each = |id: TermId, what: &mut dyn FnMut(&mut super::terms::Term, usize)| {
            let Some(term) = terms.get_mut(id) else { return };
            if let Some(domain) = topologies.domain(term.topology, slot) {
                what(term, domain);
                log.add(Change::Term(id, domain));
            }
        };
        for id in &class.matches {
            each(*id, &mut |term, domain| {
                if !(known.is_terminating && term.term.skips_terminating) {
                    term.count(slot, domain, by);
                }
            });
        }
        for id in &class.anti_affinity {
            each(*id, &mut |term, domain| term.keep_out(domain, by));
        }
        // Who must be beside others wants others beside it, a little.
        for id in &class.affinity {
            each(*id, &mut |term, domain| term.want(domain, by));
        }
        for (id, (weight, _)) in class.preferred.iter().zip(&class.shape.preferred) {
            each(*id, &mut |term, domain| term.want(domain, by * weight));
        }
    }

    fn count_all_on(&mut self, slot: Slot, by: i64) {
        let pods = self.node(slot).map(|state| state.pods.clone()).unwrap_or_default();
        for key in &pods {
            self.count(key, slot, by);
        }
    }

    /// One more pod of a shape.
    fn join(&mut self, shape: Shape) -> ClassId {
        if let Some(class) = self.classes.join(&shape) {
            return class;
        }
        let shape = Arc::new(shape);
        let mut all = |terms: &mut dyn Iterator<Item = &PodTerm>| -> Vec<TermId> {
            terms.map(|term| self.use_term(term)).collect()
        };
        let mut class = Class::new(shape.clone());
        class.affinity = all(&mut shape.affinity.iter());
        class.anti_affinity = all(&mut shape.anti_affinity.iter());
        class.preferred = all(&mut shape.preferred.iter().map(|(_, term)| term));
        class.spread = all(&mut shape.spread.iter().map(|spread| &spread.term));
        class.matches = self.terms.ids().filter(|id| self.does_match(&shape, *id)).collect();
        self.classes.add(class)
    }

    /// One pod of a class less.
    fn leave(&mut self, class: ClassId) {
        let Some(class) = self.classes.leave(class) else { return };
        for term in class.owned() {
            if self.terms.release(term) {
                let classes: Vec<ClassId> = self.classes.ids().collect();
                classes.into_iter().for_each(|id| self.classes.set_match(id, term, false));
            }
        }
    }

    fn use_term(&mut self, term: &PodTerm) -> TermId {
        if let Some(id) = self.terms.reuse(term) {
            return id;
        }
        let topology = self.topologies.id(&term.topology_key);
        let topology = topology.unwrap_or_else(|| self.add_topology(&term.topology_key));
        let id = self.terms.add(term.clone(), topology);
        let classes: Vec<ClassId> = self.classes.ids().collect();
        let matching: BTreeSet<ClassId> = classes
            .into_iter()
            .filter(|class| self.does_match(&self.classes.get(*class).shape, id))
            .collect();
        for class in &matching {
            self.classes.set_match(*class, id, true);
        }
        let Self { pods, terms, topologies, .. } = self;
        let Some(new) = terms.get_mut(id) else { return id };
        for known in pods.values().filter(|known| matching.contains(&known.class)) {
            let Some(slot) = known.slot else { continue };
            let counts = !(known.is_terminating && new.term.skips_terminating);
            if let Some(domain) = topologies.domain(topology, slot).filter(|_| counts) {
                new.count(slot, domain, 1);
            }
        }
        id
    }

    fn add_topology(&mut self, key: &str) -> usize {
        let id = self.topologies.add(key);
        for slot in self.by_name.values() {
            if let Some(state) = &self.slots[*slot] {
                self.topologies.enter_one(id, *slot, &state.info.labels);
            }
        }
        id
    }

    fn does_match(&self, shape: &Shape, term: TermId) -> bool {
        let empty = Labels::new();
        let namespace = self.namespaces.get(&shape.namespace).unwrap_or(&empty);
        let term = self.terms.get(term);
        term.is_some_and(|term| term.term.matches(&shape.namespace, namespace, &shape.labels))
    }

    /// Finds out anew which terms a class matches, after its namespace has changed.
    fn match_again(&mut self, class: ClassId) {
        let shape = self.classes.get(class).shape.clone();
        let terms: Vec<TermId> = self.terms.ids().collect();
        let now: BTreeSet<TermId> =
            terms.iter().copied().filter(|id| self.does_match(&shape, *id)).collect();
        if now == self.classes.get(class).matches {
            return;
        }
        let pods: Vec<(PodKey, Slot)> = self
            .pods
            .iter()
            .filter(|(_, known)| known.class == class)
            .filter_map(|(key, known)| Some((key.clone(), known.slot?)))
            .collect();
        pods.iter().for_each(|(key, slot)| self.count(key, *slot, -1));
        terms.iter().for_each(|id| self.classes.set_match(class, *id, now.contains(id)));
        pods.iter().for_each(|(key, slot)| self.count(key, *slot, 1));
    }
}

/// Counts one more or one less; what is counted 0 times is not there.
fn change<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: K, by: i32) {
    use std::collections::hash_map::Entry;
    match counts.entry(key) {
        Entry::Occupied(mut entry) => {
            *entry.get_mut() = entry.get().saturating_add_signed(by);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        Entry::Vacant(entry) => {
            if by > 0 {
                entry.insert(1);
            }
        }
    }
}
