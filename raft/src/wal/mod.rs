//! The write-ahead log: what berth's every promise of durability rests on.
//!
//! It knows indexes and opaque bytes, never Raft: votes, entries, truncations and purge marks form
//! one stream, and the stream is synced in its order. It must never report anything done before its
//! sync, never retry a failed sync, and never cut anything but a torn tail.

mod error;
mod options;

pub use error::{Error, ErrorKind};
pub use options::*;

use crate::vfs::Vfs;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// Told once the operation is durable, or that it never will be. Called on the writer's thread, in
/// the order of the operations; it must not block.
pub type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalEntry {
    /// Its place; indexes have no gaps.
    pub index: u64,
    /// Opaque, at most [`LOG_ID_BYTES_MAX`].
    pub log_id: Bytes,
    /// Opaque; together with the log id at most [`RECORD_BYTES_MAX`].
    pub payload: Bytes,
}

/// What an opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The vote saved last.
    pub vote: Option<Bytes>,
    /// The purge mark: index and opaque log id.
    pub purged: Option<(u64, Bytes)>,
    /// The last entry's index and log id; without entries, the purge mark.
    pub last: Option<(u64, Bytes)>,
    /// As given at creation, whatever was given now; a mismatch is the caller's to judge.
    pub metadata: Bytes,
    /// Bytes of an unfinished (never acknowledged) write that were cut from the tail.
    pub torn_bytes: u64,
}

/// Counters since the opening.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Writes, each followed by one sync.
    pub writes: u64,
    /// Bytes of these writes.
    pub bytes_written: u64,
    /// Operations (appends, votes, truncations, purges) that they carried.
    pub operations: u64,
}

/// A handle on the log; clones share it. When the last one is dropped the writer ends.
#[derive(Clone)]
pub struct Wal {}

/// The one that writes. Drive [`Writer::run`] on a thread of its own.
pub struct Writer {}

#[allow(unused_variables, clippy::unimplemented)]
impl Wal {
    /// Opens the log in `dir`, or creates it with `metadata`.
    pub fn create_or_open(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        metadata: Bytes,
        options: Options,
    ) -> Result<(Wal, Recovered, Writer), Error> {
        unimplemented!()
    }

    /// Appends entries; readable as soon as this returns, durable when `done` is told so. Their
    /// indexes must go on from [`Wal::next_index`] (any index above the purge mark while the log
    /// has no entries).
    pub fn append(&self, entries: Vec<WalEntry>, done: Done) {
        unimplemented!()
    }

    /// Saves the vote.
    pub fn save_vote(&self, vote: Bytes, done: Done) {
        unimplemented!()
    }

    /// Removes every entry after `index` (`None`: all). At or above the purge mark.
    pub fn truncate_after(&self, index: Option<u64>, done: Done) {
        unimplemented!()
    }

    /// Removes every entry up to and with `index` and remembers its `log_id`. May lie beyond the
    /// last entry: the log is then empty and goes on behind it.
    pub fn purge(&self, index: u64, log_id: Bytes, done: Done) {
        unimplemented!()
    }

    /// Entries from `from` up to `to` (exclusive), in order, without gap: at least one (if the range is not
    /// empty), then as many as fit in `bytes_max`. Blocks on the disk for entries that left the
    /// cache. An index that is purged or beyond the end: [`ErrorKind::Missing`].
    pub fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<WalEntry>, Error> {
        unimplemented!()
    }

    /// The index of the first entry; equal to [`Wal::next_index`] if there is none.
    pub fn first_index(&self) -> u64 {
        unimplemented!()
    }

    /// The index that the next append must have.
    pub fn next_index(&self) -> u64 {
        unimplemented!()
    }

    /// The last entry's index and log id; without entries, the purge mark.
    pub fn last(&self) -> Result<Option<(u64, Bytes)>, Error> {
        unimplemented!()
    }

    /// The purge mark.
    pub fn purged(&self) -> Option<(u64, Bytes)> {
        unimplemented!()
    }

    /// The log id at an index: of an entry, or of the purge mark. `None`: not in the log.
    pub fn log_id_of(&self, index: u64) -> Result<Option<Bytes>, Error> {
        unimplemented!()
    }

    /// Bytes of the log from its first entry to its end.
    pub fn bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Bytes of the log behind the entry at `index`.
    pub fn bytes_after(&self, index: u64) -> u64 {
        unimplemented!()
    }

    /// Counters since the opening.
    pub fn stats(&self) -> Stats {
        unimplemented!()
    }

    /// The failure that poisoned the log, if one did: every later call fails with it.
    pub fn failed(&self) -> Option<Error> {
        unimplemented!()
    }

    /// Ends the writer after what waits is durable; later calls fail with [`ErrorKind::Stopped`].
    pub fn close(&self) {
        unimplemented!()
    }
}

#[allow(clippy::unimplemented)]
impl Writer {
    /// Writes what the handles ask for until the log is closed, the last handle is dropped or a
    /// write fails: encode all that waits, one write, one sync, tell all, in order. Uses no runtime:
    /// run it with `futures::executor::block_on` on a thread, or spawn it in a simulator. Its file
    /// calls block. Not cancel safe: dropping it poisons the log.
    pub async fn run(self) -> Result<(), Error> {
        unimplemented!()
    }
}
