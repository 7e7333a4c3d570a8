//! Who waits for a command of theirs to be applied here.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::channel::oneshot;
use parking_lot::Mutex;
use store::Applied;

/// Clones share it.
#[derive(Clone)]
pub(crate) struct Waiters {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Applied>>,
}

/// A place in the queue; dropping it leaves.
pub(super) struct Ticket {
    sequence: u64,
    applied: oneshot::Receiver<Applied>,
    waiters: Waiters,
}

impl Waiters {
    /// `first` is the first number that is given; no other start of this member may have used it
    /// or those that follow it.
    pub(crate) fn new(first: u64) -> Waiters {
        let shared = Shared { next: first, waiting: BTreeMap::new() };
        Waiters { shared: Arc::new(Mutex::new(shared)) }
    }

    pub(super) fn wait(&self) -> Ticket {
        let (tx, applied) = oneshot::channel();
        let mut shared = self.shared.lock();
        let sequence = shared.next;
        shared.next = sequence.wrapping_add(1);
        shared.waiting.insert(sequence, tx);
        drop(shared);
        Ticket { sequence, applied, waiters: self.clone() }
    }

    /// Command `sequence` of this member was applied.
    pub(crate) fn applied(&self, sequence: u64, applied: Applied) {
        let waiting = self.shared.lock().waiting.remove(&sequence);
        if let Some(waiting) = waiting {
            // A caller that has gone needs no answer.
            let _ = waiting.send(applied);
        }
    }

    /// Nobody will ever know what came of those that wait now.
    pub(crate) fn forget_all(&self) {
        // Dropping the senders tells.
        self.shared.lock().waiting.clear();
    }
}

impl Ticket {
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Cancel safe; resolves once.
    pub(super) fn applied(&mut self) -> &mut oneshot::Receiver<Applied> {
        &mut self.applied
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiters.shared.lock().waiting.remove(&self.sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use smallvec::SmallVec;

    fn applied(revision: i64) -> Applied {
        let result = Ok(store::Response::ExpireLeases);
        Applied { revision, result, events: SmallVec::new() }
    }

    #[test]
    fn each_hears_of_its_own_command_alone() {
        // Proves that outcomes find their callers, that strangers are ignored, and that a caller
        // that leaves is forgotten.
        let waiters = Waiters::new(u64::MAX);
        let (mut one, mut two, three) = (waiters.wait(), waiters.wait(), waiters.wait());
        assert_eq!((one.sequence(), two.sequence()), (u64::MAX, 0));
        waiters.applied(7, applied(1));
        waiters.applied(0, applied(2));
        assert!(one.applied().now_or_never().is_none());
        assert_eq!(two.applied().now_or_never().unwrap().unwrap().revision, 2);
        drop(three);
        assert_eq!(waiters.shared.lock().waiting.len(), 1);
        waiters.forget_all();
        assert!(one.applied().now_or_never().unwrap().is_err());
    }
}
