//! What changed lately, for those who keep something worked out.

use std::collections::VecDeque;

use super::terms::TermId;
use super::topology::{DomainId, Slot};

/// Changes that are kept; who is further behind begins anew.
const KEPT_MAX: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A node, or the pods on it.
    Node(Slot),
    /// How many pods of a term there are in a domain, or what they want.
    Term(TermId, DomainId),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    kept: VecDeque<Change>,
    /// Changes that were dropped.
    dropped: usize,
}

impl Log {
    pub(super) fn add(&mut self, change: Change) {
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
            self.dropped += 1;
        }
        self.kept.push_back(change);
    }

    /// How far it has come.
    pub(super) fn position(&self) -> usize {
        self.dropped + self.kept.len()
    }

    /// The changes since a position; `None`: some of them are no longer known.
    pub(super) fn since(&self, position: usize) -> Option<impl Iterator<Item = Change> + '_> {
        let skip = position.checked_sub(self.dropped)?;
        Some(self.kept.range(skip.min(self.kept.len())..).copied())
    }
}
