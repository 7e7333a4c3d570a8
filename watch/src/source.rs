//! Where the hub reads what it was not told, or did not keep.

use api::mvccpb::KeyValue;
use bytes::Bytes;
use store::{Entry, Error, HistoryChunk, Reader};

/// The part of the store that the hub needs; see [`Reader`] for what each does.
///
/// To ensure correctness: `revision` never shrinks, and it covers every batch published so far.
pub trait Source: Send + Sync + 'static {
    fn revision(&self) -> i64;

    fn compact_revision(&self) -> i64;

    /// # Errors
    /// [`Error::Compacted`] if `from` is below the compacted revision.
    fn history(
        &self,
        from: i64,
        to: i64,
        filter: &dyn Fn(&[u8]) -> bool,
        bytes_max: usize,
    ) -> Result<HistoryChunk, Error>;

    /// # Errors
    /// The engine failed.
    fn key_value(&self, key: &Bytes, entry: &Entry) -> Result<Option<KeyValue>, Error>;
}

impl Source for Reader {
    fn revision(&self) -> i64 {
        Reader::revision(self)
    }

    fn compact_revision(&self) -> i64 {
        Reader::compact_revision(self)
    }

    fn history(
        &self,
        from: i64,
        to: i64,
        filter: &dyn Fn(&[u8]) -> bool,
        bytes_max: usize,
    ) -> Result<HistoryChunk, Error> {
        Reader::history(self, from, to, filter, bytes_max)
    }

    fn key_value(&self, key: &Bytes, entry: &Entry) -> Result<Option<KeyValue>, Error> {
        Reader::key_value(self, key, entry)
    }
}
