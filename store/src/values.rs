//! Values by revision: pending ones, then a bounded cache, then the engine.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::attached::Attached;
use crate::persist::records;
use crate::{Entry, Error, Revision};

/// Parts of the cache that are locked one by one; a power of two.
const SHARDS: usize = 16;

/// Values this near to each other, counted in revisions, are read in one go with what lies between,
/// if there are so many of them: looking one up costs as much as passing by several.
const GAP_MAX: i64 = 4;
const SCANNED_MIN: usize = 8;

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
        self.get(entry)
    }

    fn get(&self, entry: &Entry) -> Result<Option<Bytes>, Error> {
        let found = self.engine.get(&records::value_key(entry.revision))?;
        found.map(|value| self.warm(entry, value)).transpose()
    }

    /// The values of such versions from the engine; they ascend by their revisions. Neighbours are
    /// read together.
    pub(crate) fn read(&self, entries: &[&Entry]) -> Result<Vec<Option<Bytes>>, Error> {
        let mut values = Vec::with_capacity(entries.len());
        let are_near = |a: &&Entry, b: &&Entry| b.revision.main - a.revision.main <= GAP_MAX;
        for run in entries.chunk_by(are_near) {
            if run.len() < SCANNED_MIN {
                for entry in run {
                    values.push(self.get(entry)?);
                }
            } else {
                self.scan(run, &mut values)?;
            }
        }
        Ok(values)
    }

    fn scan(&self, run: &[&Entry], values: &mut Vec<Option<Bytes>>) -> Result<(), Error> {
        let key_of = |entry: &Entry| records::value_key(entry.revision);
        let (first, last) = (key_of(run[0]), key_of(run[run.len() - 1]));
        let (mut rest, mut found) = (run.iter().peekable(), Vec::with_capacity(run.len()));
        self.engine.scan(&first, &[&last[..], &[0]].concat(), &mut |key, value| {
            while let Some(entry) = rest.next_if(|entry| key_of(entry)[..] <= *key) {
                let is_it = key_of(entry)[..] == *key;
                found.push(is_it.then(|| Bytes::copy_from_slice(value)));
            }
            ControlFlow::Continue(())
        })?;
        // Only now is it certain that all of it is of this state.
        for (entry, value) in run.iter().zip(found.into_iter().chain(std::iter::repeat(None))) {
            values.push(value.map(|value| self.warm(entry, value)).transpose()?);
        }
        Ok(())
    }

    /// Keeps what was read for those who ask next.
    fn warm(&self, entry: &Entry, value: Bytes) -> Result<Bytes, Error> {
        if value.len() != entry.value_len as usize {
            return Err(Error::Engine(format!("value {:?} has the wrong length", entry.revision)));
        }
        self.insert(entry.revision, value.clone());
        Ok(value)
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
    fn values_are_read_one_by_one_or_with_their_neighbours() {
        // Whatever lies between them, near and far ones are found, one that is not there is told as
        // such, also behind the last, and one of a wrong length is an error.
        let engine = engine();
        let mut batch = crate::engine::Batch::default();
        let entry = |main: i64, sub: u32| Entry {
            revision: Revision::new(main, sub),
            tombstone: false,
            create_revision: main,
            version: 1,
            lease: 0,
            value_len: u32::try_from(main).unwrap(),
        };
        let all: Vec<Entry> = (1..200).flat_map(|main| [entry(main, 0), entry(main, 1)]).collect();
        let is_there = |entry: &Entry| entry.revision.main % 7 != 0 && entry.revision.main < 190;
        for entry in all.iter().filter(|entry| is_there(entry)) {
            let key = Bytes::copy_from_slice(&records::value_key(entry.revision));
            let byte = u8::try_from(entry.revision.sub).unwrap();
            batch.put(key, vec![byte; entry.value_len as usize]);
        }
        engine.apply(batch).unwrap();
        for cache_bytes in [0, 1 << 20] {
            for step in [1, 2, 3, 9, 30] {
                let values = Values::new(engine.clone(), cache_bytes);
                let asked: Vec<&Entry> = all.iter().step_by(step).collect();
                let found = values.read(&asked).unwrap();
                assert_eq!(found.len(), asked.len());
                for (entry, value) in asked.iter().zip(found) {
                    assert_eq!(value.is_some(), is_there(entry), "{entry:?}");
                    let expected =
                        vec![u8::try_from(entry.revision.sub).unwrap(); entry.value_len as usize];
                    assert!(value.is_none_or(|value| value == expected), "{entry:?}");
                }
            }
        }
        let values = Values::new(engine, 0);
        let mut wrong = all[..20].to_vec();
        wrong[10].value_len += 1;
        let asked: Vec<&Entry> = wrong.iter().collect();
        assert!(matches!(values.read(&asked), Err(Error::Engine(_))));
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
