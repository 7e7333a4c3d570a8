//! The engine in memory: for simulation and tests, and the reference for every other.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Batch, Engine, Visit};

/// Entries that one hold of the lock hands to a scan.
const SLICE_ENTRIES_MAX: usize = 512;

/// An engine that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemEngine {
    entries: RwLock<BTreeMap<Bytes, Bytes>>,
}

impl MemEngine {
    /// An empty engine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn slice(&self, start: Bound<&[u8]>, to: &[u8]) -> Vec<(Bytes, Bytes)> {
        let entries = self.entries.read();
        let range = entries.range::<[u8], _>((start, Bound::Excluded(to)));
        range.take(SLICE_ENTRIES_MAX).map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// Another with the same content.
impl Clone for MemEngine {
    fn clone(&self) -> Self {
        Self { entries: RwLock::new(self.entries.read().clone()) }
    }
}

impl Engine for MemEngine {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(self.entries.read().get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        let mut slice = self.slice(Bound::Included(from), to);
        while let Some((last, _)) = slice.last() {
            let last = last.clone();
            for (key, value) in &slice {
                if visit(key, value).is_break() {
                    return Ok(());
                }
            }
            slice = self.slice(Bound::Excluded(&last), to);
        }
        Ok(())
    }

    fn apply(&self, batch: Batch) -> io::Result<()> {
        let mut entries = self.entries.write();
        for (key, value) in batch.ops {
            match value {
                Some(value) => entries.insert(key, value),
                None => entries.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        self.entries.write().clear();
        Ok(())
    }

    fn size_bytes(&self) -> io::Result<u64> {
        let entries = self.entries.read();
        Ok(entries.iter().map(|(key, value)| key.len() as u64 + value.len() as u64).sum())
    }
}
