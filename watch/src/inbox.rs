//! What was published and not yet taken. The only lock that the writer of the store meets.

use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;
use store::EventBatch;

use crate::event;
use crate::signal::Signal;

pub(crate) struct Inbox {
    pending: Mutex<Pending>,
    bytes_max: usize,
    pub(crate) signal: Signal,
}

/// In order: first what was lost, then the batches after it.
#[derive(Default)]
pub(crate) struct Pending {
    /// Batches up to this revision were dropped to keep the bound.
    pub(crate) lost_to: Option<i64>,
    pub(crate) batches: Vec<Arc<EventBatch>>,
    bytes: usize,
}

impl Inbox {
    pub(crate) fn new(bytes_max: usize) -> Inbox {
        Inbox { pending: Mutex::default(), bytes_max, signal: Signal::default() }
    }

    pub(crate) fn push(&self, batches: &[Arc<EventBatch>]) {
        let Some(last) = batches.last() else { return };
        let events = batches.iter().flat_map(|batch| &batch.events);
        let bytes = events.map(|event| event::cost(event, false)).sum::<usize>();

        let mut pending = self.pending.lock();
        pending.batches.extend_from_slice(batches);
        pending.bytes += bytes;
        let overrun = pending.bytes > self.bytes_max;
        let dropped = overrun.then(|| {
            let lost = Pending { lost_to: Some(last.revision), ..Pending::default() };
            mem::replace(&mut *pending, lost)
        });
        drop(pending);
        drop(dropped); // Outside of the lock: it may be long.
        self.signal.set();
    }

    pub(crate) fn take(&self) -> Pending {
        mem::take(&mut *self.pending.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(revision: i64) -> Arc<EventBatch> {
        let kv = api::mvccpb::KeyValue::default();
        let kind = store::EventKind::Put;
        let at = store::Revision { main: revision, sub: 0 };
        let event = store::Event { kind, kv, revision: at, prev: None };
        Arc::new(EventBatch { revision, events: vec![event] })
    }

    /// Proves that the inbox keeps order, and past its bound says what it dropped.
    #[test]
    fn drops_all_past_its_bound_and_says_so() {
        let inbox = Inbox::new(3 * event::cost(&batch(1).events[0], false));
        inbox.push(&[batch(2), batch(3)]);
        let taken = inbox.take();
        let revisions: Vec<_> = taken.batches.iter().map(|batch| batch.revision).collect();
        assert_eq!((taken.lost_to, revisions), (None, vec![2, 3]));

        inbox.push(&[batch(4), batch(5), batch(6)]);
        inbox.push(&[batch(7)]);
        inbox.push(&[batch(8)]);
        let taken = inbox.take();
        assert_eq!(taken.lost_to, Some(7));
        assert_eq!(taken.batches.len(), 1);
        assert_eq!(taken.batches[0].revision, 8);
    }
}
