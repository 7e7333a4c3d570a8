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
    /// Of keys and values that were put.
    pub put_bytes: u64,
    pub leases_granted: u64,
    /// Those that expired too.
    pub leases_revoked: u64,
    /// Versions of keys that compactions removed.
    pub compacted: u64,
}

/// The same for one request.
#[derive(Clone, Copy, Default)]
pub(crate) struct Calls {
    pub(crate) ranges: u64,
    pub(crate) puts: u64,
    pub(crate) deletes: u64,
    pub(crate) put_bytes: u64,
    pub(crate) leases_granted: u64,
    pub(crate) leases_revoked: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    ranges: AtomicU64,
    puts: AtomicU64,
    deletes: AtomicU64,
    txns: AtomicU64,
    put_bytes: AtomicU64,
    leases_granted: AtomicU64,
    leases_revoked: AtomicU64,
    compacted: AtomicU64,
}

impl Counters {
    pub(crate) fn add(&self, calls: Calls) {
        let Calls { ranges, puts, deletes, put_bytes, leases_granted, leases_revoked } = calls;
        let is_txn = u64::from(ranges + puts + deletes > 1);
        let counted = [
            (&self.ranges, ranges),
            (&self.puts, puts),
            (&self.deletes, deletes),
            (&self.txns, is_txn),
            (&self.put_bytes, put_bytes),
            (&self.leases_granted, leases_granted),
            (&self.leases_revoked, leases_revoked),
        ];
        for (counter, count) in counted {
            // Most are zero, and an atomic addition is not free.
            if count != 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn add_compacted(&self, versions: usize) {
        self.compacted.fetch_add(versions as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Work {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Work {
            ranges: of(&self.ranges),
            puts: of(&self.puts),
            deletes: of(&self.deletes),
            txns: of(&self.txns),
            put_bytes: of(&self.put_bytes),
            leases_granted: of(&self.leases_granted),
            leases_revoked: of(&self.leases_revoked),
            compacted: of(&self.compacted),
        }
    }
}
