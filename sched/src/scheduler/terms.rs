//! Who is where: for each set of pods that somebody asks about, how many there are by domain.
//!
//! A term is counted once however many pods ask about it, and each pod that comes or goes changes
//! the terms that it matches and those that it owns. So a question about a domain is a look-up.

use std::collections::HashMap;

use super::pod::PodTerm;
use super::topology::{DomainId, Slot, TopologyId};

/// A term, by its place.
pub(super) type TermId = usize;

#[derive(Clone, Debug)]
pub(super) struct Term {
    pub term: PodTerm,
    pub topology: TopologyId,
    /// Shapes that ask about it.
    uses: usize,
    /// Pods that match it, by node and by domain.
    on: HashMap<Slot, i64>,
    matching: HashMap<DomainId, i64>,
    pub total: i64,
    /// Pods that keep those that match it out of their domain.
    keeping_out: HashMap<DomainId, i64>,
    /// How much the pods of a domain want those that match it to come; below 0: to stay away.
    wanting: HashMap<DomainId, i64>,
}

impl Term {
    pub(super) fn on(&self, slot: Slot) -> i64 {
        self.on.get(&slot).copied().unwrap_or(0)
    }

    pub(super) fn matching(&self, domain: DomainId) -> i64 {
        self.matching.get(&domain).copied().unwrap_or(0)
    }

    pub(super) fn keeping_out(&self, domain: DomainId) -> i64 {
        self.keeping_out.get(&domain).copied().unwrap_or(0)
    }

    pub(super) fn wanting(&self, domain: DomainId) -> i64 {
        self.wanting.get(&domain).copied().unwrap_or(0)
    }

    /// A pod that matches came (1) or went (-1).
    pub(super) fn count(&mut self, slot: Slot, domain: DomainId, by: i64) {
        add(&mut self.on, slot, by);
        add(&mut self.matching, domain, by);
        self.total += by;
    }

    pub(super) fn keep_out(&mut self, domain: DomainId, by: i64) {
        add(&mut self.keeping_out, domain, by);
    }

    pub(super) fn want(&mut self, domain: DomainId, by: i64) {
        add(&mut self.wanting, domain, by);
    }
}

fn add(counts: &mut HashMap<usize, i64>, at: usize, by: i64) {
    let count = counts.entry(at).or_default();
    *count += by;
    if *count == 0 {
        counts.remove(&at);
    }
}

/// All terms in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    slots: Vec<Option<Term>>,
    free: Vec<TermId>,
    by_term: HashMap<PodTerm, TermId>,
}

impl Terms {
    pub(super) fn get(&self, id: TermId) -> Option<&Term> {
        self.slots.get(id).and_then(Option::as_ref)
    }

    pub(super) fn get_mut(&mut self, id: TermId) -> Option<&mut Term> {
        self.slots.get_mut(id).and_then(Option::as_mut)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = TermId> {
        (0..self.slots.len()).filter(|id| self.slots[*id].is_some())
    }

    /// Takes one more use of a term that is known.
    pub(super) fn reuse(&mut self, term: &PodTerm) -> Option<TermId> {
        let id = *self.by_term.get(term)?;
        self.get_mut(id)?.uses += 1;
        Some(id)
    }

    /// Adds a term with its first use. Those who match it must be counted then.
    pub(super) fn add(&mut self, term: PodTerm, topology: TopologyId) -> TermId {
        let id = self.free.pop().unwrap_or(self.slots.len());
        if id == self.slots.len() {
            self.slots.push(None);
        }
        self.by_term.insert(term.clone(), id);
        self.slots[id] = Some(Term {
            term,
            topology,
            uses: 1,
            on: HashMap::new(),
            matching: HashMap::new(),
            total: 0,
            keeping_out: HashMap::new(),
            wanting: HashMap::new(),
        });
        id
    }

    /// Gives a use back; true: it was the last, and the term is forgotten.
    pub(super) fn release(&mut self, id: TermId) -> bool {
        let Some(term) = self.get_mut(id) else { return false };
        term.uses -= 1;
        if term.uses > 0 {
            return false;
        }
        if let Some(term) = self.slots[id].take() {
            self.by_term.remove(&term.term);
        }
        self.free.push(id);
        true
    }
}
