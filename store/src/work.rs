//! What this replica was asked to do since it was opened. For operators; nothing depends on it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Operations since the store was opened, read and written ones. What was refused is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    pub ranges: u64,
    pub puts: u64,
    pub deletes: u64,
    /// Requests of more than one operation.
    pub txns: u64,
}

/// The same for one request.
#[derive(Clone, Copy, Default)]
pub(crate) struct Calls {
    pub(crate) ranges: u64,
    pub(crate) puts: u64,
    pub(crate) deletes: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    ranges: AtomicU64,
    puts: AtomicU64,
    deletes: AtomicU64,
    txns: AtomicU64,
}

impl Counters {
    pub(crate) fn add(&self, calls: Calls) {
        let Calls { ranges, puts, deletes } = calls;
        let is_txn = u64::from(ranges + puts + deletes > 1);
        let counted = [
            (&self.ranges, ranges),
            (&self.puts, puts),
            (&self.deletes, deletes),
            (&self.txns, is_txn),
        ];
        for (counter, count) in counted {
            // Most are zero, and an atomic addition is not free.
            if count != 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn read(&self) -> Work {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Work {
            ranges: of(&self.ranges),
            puts: of(&self.puts),
            deletes: of(&self.deletes),
            txns: of(&self.txns),
        }
    }
}
