//! Where applied state is kept: an ordered map of bytes with atomic batches.
//!
//! An engine never holds the truth: what it lost is rebuilt from snapshot and log. So it owes its
//! caller honesty (an error rather than a wrong answer) and order, not durability at once. It must
//! never interpret a key, keep a lock while a visitor runs, or hold a whole scan in memory.
//!
//! Start with [`Engine`]; [`MemEngine`] is the reference, [`SledEngine`] the one on disk,
//! [`CrashEngine`] the one that loses power on purpose, and `conformance.rs` is what all must pass.

#[cfg(test)]
mod conformance;
mod crash;
mod mem;
mod sled;

use std::io;
use std::ops::ControlFlow;

use bytes::Bytes;

pub use self::crash::CrashEngine;
pub use self::mem::MemEngine;
pub use self::sled::SledEngine;

/// An ordered map from keys to values, both any bytes, also empty.
///
/// To ensure correctness, an implementation must:
/// - make a [`Batch`] visible as a whole to `get`, and after a crash keep all of it or nothing;
/// - keep batches in order: one that survives a crash survives with all that were applied before;
/// - after the first error that may have broken its state, answer errors only.
pub trait Engine: Send + Sync + 'static {
    /// The value of `key`, or `None`.
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>>;

    /// Visits the entries with `from <= key < to` in ascending order until the visitor breaks.
    ///
    /// Not a snapshot: an entry that is there from beginning to end is visited exactly once with
    /// a value that it had meanwhile; one that comes or goes during the scan may be missed or
    /// seen. The visitor may call the engine, and may be slow.
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> io::Result<()>;

    /// Applies all operations of `batch`, or, on an error, possibly none.
    fn apply(&self, batch: Batch) -> io::Result<()>;

    /// Returns when everything applied before the call would survive a crash of the machine.
    fn flush(&self) -> io::Result<()>;

    /// Removes everything, durably; of an engine that failed too, which goes on to fail.
    fn clear(&self) -> io::Result<()>;

    /// Bytes that the engine occupies, on disk if it has one.
    fn size_bytes(&self) -> io::Result<u64>;
}

/// What a scan calls with each key and value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Changes that become visible together. Of two operations on one key the later counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Key and new value; `None` deletes.
    pub ops: Vec<(Bytes, Option<Bytes>)>,
}

impl Batch {
    /// Adds a write.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.ops.push((key.into(), Some(value.into())));
    }

    /// Adds a removal; removing what is not there is no error.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.ops.push((key.into(), None));
    }

    /// Whether applying it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}
