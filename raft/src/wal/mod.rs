//! The write-ahead log: what berth's every promise of durability rests on.
//!
//! It knows indexes and opaque bytes, never Raft: votes, entries, truncations and purge marks form
//! one stream, and the stream is synced in its order. It must never report anything done before its
//! sync, never retry a failed sync, and never cut anything but a torn tail.
//!
//! Start at [`Wal`] (what callers do) and [`Writer::run`] (when it becomes durable); then
//! `recovery.rs` for what is made of the bytes after a failure. The bytes themselves:
//! `docs/format/wal.md`, `header.rs`, `record.rs`.
//!
//! ```text
//! Wal --accept--> State (what callers see, queue) --batch--> Writer --one write, one sync--> Segment
//!                   ^                                          |
//!                   +------- Index, Segments (what is written) +--> done(Ok), in order
//! ```

mod error;
mod fuzz;
mod handle;
mod header;
mod index;
mod options;
mod read;
mod recent;
mod record;
mod recovery;
mod segment;
mod state;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{Error, ErrorKind};
pub use fuzz::recover_arbitrary;
pub use handle::Wal;
pub use options::*;
pub use writer::Writer;

use bytes::Bytes;

/// Told once the operation is durable, or that it never will be. Called on the writer's thread, in
/// the order of the operations; it must not block. A request that is refused (or comes after the
/// log failed or closed) is told on the caller's thread, before the call returns.
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
