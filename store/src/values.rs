//! Values by revision: pending ones, then a bounded cache, then the engine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::attached::Attached;
use crate::persist::records;
use crate::{Entry, Error, Revision};

/// Parts of the cache that are locked one by one; a power of two.
const SHARDS: usize = 16;

/// Bytes that a cached value takes beside itself, roughly.
const CACHED_OVERHEAD_BYTES: usize = 96;

/// Places of removed values that a shard may keep, beside as many as it has values.
const GONE_MAX: usize = 64;

pub(crate) struct Values {
    engine: Arc<Attached>,
    shards: Vec<RwLock<Shard>>,
    shard_bytes_max: usize,
}

/// A cache that evicts in the order of arrival, but gives a second chance to what was read.
#[derive(Default)]
struct Shard {
    cached: BTreeMap<Revision, Cached>,
    order: VecDeque<Revision>,
    bytes: usize,
}

struct Cached {
    value: Bytes,
    was_read: AtomicBool,
}

impl Values {
    pub(crate) fn new(engine: Arc<Attached>, cache_bytes: usize) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Values { engine, shards, shard_bytes_max: cache_bytes / SHARDS }
    }

    /// The value of a version that has a value and is no longer pending.
    pub(crate) fn settled(&self, entry: &Entry) -> Result<Option<Bytes>, Error> {
        if let Some(value) = self.cached(entry.revision) {
            return Ok(Some(value));
        }
        let Some(value) = self.engine.get(&records::value_key(entry.revision))? else {
            return Ok(None);
        };
        if value.len() != entry.value_len as usize {
            return Err(Error::Engine(format!("value {:?} has the wrong length", entry.revision)));
        }
        self.insert(entry.revision, value.clone());
        Ok(Some(value))
    }

    pub(crate) fn cached(&self, revision: Revision) -> Option<Bytes> {
        self.shard(revision).read().get(revision)
    }

    pub(crate) fn insert(&self, revision: Revision, value: Bytes) {
        if !value.is_empty() && value.len() < self.shard_bytes_max {
            self.shard(revision).write().insert(revision, value, self.shard_bytes_max);
        }
    }

    pub(crate) fn remove(&self, revision: Revision) {
        self.shard(revision).write().remove(revision);
    }

    fn shard(&self, revision: Revision) -> &RwLock<Shard> {
        let mixed = revision.main.cast_unsigned().wrapping_add(u64::from(revision.sub));
        &self.shards[usize::try_from(mixed % SHARDS as u64).expect("less than SHARDS")]
    }
}

impl Shard {
    fn get(&self, revision: Revision) -> Option<Bytes> {
        let cached = self.cached.get(&revision)?;
        cached.was_read.store(true, Ordering::Relaxed);
        Some(cached.value.clone())
    }

    fn insert(&mut self, revision: Revision, value: Bytes, bytes_max: usize) {
        let bytes = value.len() + CACHED_OVERHEAD_BYTES;
        let cached = Cached { value, was_read: AtomicBool::new(false) };
        if self.cached.insert(revision, cached).is_none() {
            self.order.push_back(revision);
            self.bytes += bytes;
        }
        while self.bytes > bytes_max {
            let Some(oldest) = self.order.pop_front() else { return };
            match self.cached.get(&oldest) {
                Some(cached) if cached.was_read.swap(false, Ordering::Relaxed) => {
                    self.order.push_back(oldest);
                }
                _ => self.remove(oldest),
            }
        }
        if self.order.len() > 2 * self.cached.len() + GONE_MAX {
            self.order.retain(|revision| self.cached.contains_key(revision));
        }
    }

    /// Its place in `order` is found empty later.
    fn remove(&mut self, revision: Revision) {
        if let Some(cached) = self.cached.remove(&revision) {
            self.bytes -= cached.value.len() + CACHED_OVERHEAD_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::MemEngine;

    fn engine() -> Arc<Attached> {
        Arc::new(Attached::new(Arc::new(MemEngine::new())))
    }

    #[test]
    fn the_cache_keeps_its_bound_and_what_is_read() {
        // However much passes through, the bound holds, and a value that is read stays.
        let values = Values::new(engine(), SHARDS * 10_000);
        let kept = Revision::new(0, 0);
        values.insert(kept, Bytes::from(vec![7; 100]));
        for main in 1..10_000 {
            values.insert(Revision::new(main * SHARDS as i64, 0), Bytes::from(vec![1; 100]));
            assert!(values.shard(kept).read().get(kept).is_some());
        }
        let shard = values.shard(kept).read();
        assert!(shard.bytes <= 10_000);
        assert!(shard.order.len() <= 10_000 / 100);
    }

    #[test]
    fn what_compaction_removes_leaves_nothing_behind() {
        // A store that is overwritten and compacted for months never fills its cache, and must not
        // remember every revision that ever was in it.
        let values = Values::new(engine(), SHARDS * 10_000);
        let of = |main: i64| Revision::new(main * SHARDS as i64, 0);
        for main in 0..10_000 {
            values.insert(of(main), Bytes::from(vec![1; 100]));
            values.remove(of(main - 5));
        }
        let shard = values.shard(of(0)).read();
        assert_eq!(shard.cached.len(), 5);
        assert!(shard.order.len() <= 2 * 5 + GONE_MAX, "{}", shard.order.len());
    }
}
