//! What an operator counts of consensus. Nothing depends on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Counts since the start. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    pending: AtomicU64,
    failed: AtomicU64,
    leaders: Mutex<Leaders>,
}

#[derive(Default)]
struct Leaders {
    last: Option<u64>,
    changes: u64,
}

/// A proposal under way. It has failed unless it is said to be [`Pending::answered`].
pub(crate) struct Pending {
    shared: Arc<Shared>,
    answered: bool,
}

impl Tally {
    pub(crate) fn begin(&self) -> Pending {
        self.shared.pending.fetch_add(1, Ordering::Relaxed);
        Pending { shared: self.shared.clone(), answered: false }
    }

    /// Takes note of who leads; that nobody does is no change.
    pub(crate) fn leader(&self, leader: Option<u64>) {
        let mut leaders = self.shared.leaders.lock();
        if leader.is_some() && leader != leaders.last {
            leaders.last = leader;
            leaders.changes += 1;
        }
    }

    pub(crate) fn pending(&self) -> u64 {
        self.shared.pending.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn leader_changes(&self) -> u64 {
        self.shared.leaders.lock().changes
    }
}

impl Pending {
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.shared.pending.fetch_sub(1, Ordering::Relaxed);
        if !self.answered {
            self.shared.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_that_is_given_up_has_failed() {
        // Shows what is counted as pending and as failed, and that only another leader is a change.
        let tally = Tally::default();
        let (first, second) = (tally.begin(), tally.begin());
        assert_eq!((tally.pending(), tally.failed()), (2, 0));
        first.answered();
        drop(second);
        assert_eq!((tally.pending(), tally.failed()), (0, 1));
        for leader in [None, Some(1), None, Some(1), Some(2)] {
            tally.leader(leader);
        }
        assert_eq!(tally.leader_changes(), 2);
    }
}
