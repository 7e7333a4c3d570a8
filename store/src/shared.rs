//! What the writer and all readers have in common.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::attached::Attached;
use crate::compactor::Walk;
use crate::engine::Engine;
use crate::read_ahead::ReadAhead;
use crate::state::{Pending, State};
use crate::values::Values;
use crate::work::Counters;
use crate::{Entry, Error, Options, v2};

/// Most keys that a reader walks over under one lock: what a writer may have to wait for.
pub(crate) const SLICE_KEYS_MAX: usize = 512;

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) engine: Arc<Attached>,
    pub(crate) values: Values,
    pub(crate) state: RwLock<State>,
    pub(crate) flushed: Flushed,
    pub(crate) walk: Mutex<Walk>,
    pub(crate) work: Counters,
    pub(crate) read_ahead: ReadAhead,
    pub(crate) v2_counters: v2::Counters,
    pins: Mutex<BTreeMap<i64, usize>>,
}

/// How far the engine has come.
pub(crate) struct Flushed {
    pub(crate) index: AtomicU64,
    pub(crate) compact_revision: AtomicI64,
    /// Held while a batch is made and applied: batches enter the engine in order.
    pub(crate) turn: Mutex<()>,
}

impl Shared {
    /// Everything in `state` is in the engine.
    pub(crate) fn new(engine: Arc<dyn Engine>, options: Options, state: State) -> Arc<Self> {
        let engine = Arc::new(Attached::new(engine));
        Arc::new(Shared {
            values: Values::new(Arc::clone(&engine), options.value_cache_bytes),
            options,
            engine,
            flushed: Flushed {
                index: AtomicU64::new(state.position.index),
                compact_revision: AtomicI64::new(state.compact_revision),
                turn: Mutex::new(()),
            },
            walk: Mutex::default(),
            state: RwLock::new(state),
            work: Counters::default(),
            read_ahead: ReadAhead::default(),
            v2_counters: v2::Counters::default(),
            pins: Mutex::default(),
        })
    }

    /// The values of versions that somebody has pinned, in their order; empty for a tombstone.
    ///
    /// The engine is asked in the order of revisions, in which it has them: neighbours there are
    /// read together, whatever order the answer has.
    pub(crate) fn pinned_values<'e>(
        &self,
        entries: impl Iterator<Item = &'e Entry>,
    ) -> Result<Vec<Bytes>, Error> {
        let entries: Vec<_> = entries.collect();
        let mut values = Vec::with_capacity(entries.len());
        let mut missing = Vec::new();
        {
            let state = self.state.read();
            for (place, entry) in entries.iter().enumerate() {
                let value = pending_value(&state.pending, entry);
                if value.is_none() {
                    missing.push(place);
                }
                values.push(value.unwrap_or_default());
            }
        }
        missing.retain(|place| match self.values.cached(entries[*place].revision) {
            Some(value) => {
                values[*place] = value;
                false
            }
            None => true,
        });
        missing.sort_unstable_by_key(|place| entries[*place].revision);
        let cold: Vec<&Entry> = missing.iter().map(|place| entries[*place]).collect();
        for (place, value) in missing.into_iter().zip(self.values.read(&cold)?) {
            values[place] = value.ok_or_else(|| lost(entries[place]))?;
        }
        Ok(values)
    }

    /// The same, if none of it has to be read from the engine.
    pub(crate) fn values_at_hand<'e>(
        &self,
        entries: impl Iterator<Item = &'e Entry>,
    ) -> Option<Vec<Bytes>> {
        let state = self.state.read();
        let at_hand = |entry: &Entry| {
            pending_value(&state.pending, entry).or_else(|| self.values.cached(entry.revision))
        };
        entries.map(at_hand).collect()
    }

    /// The value of one version; `None` for a tombstone, or if it has been compacted away.
    pub(crate) fn value(&self, entry: &Entry) -> Result<Option<Bytes>, Error> {
        if entry.tombstone {
            return Ok(None);
        }
        let pending = pending_value(&self.state.read().pending, entry);
        match pending {
            Some(value) => Ok(Some(value)),
            None => self.values.settled(entry),
        }
    }

    /// Keeps what a reader at `revision` sees from physical compaction. Take it while the state
    /// is locked and the revision not compacted.
    pub(crate) fn pin(self: &Arc<Self>, revision: i64) -> Pin {
        *self.pins.lock().entry(revision).or_default() += 1;
        Pin { shared: Arc::clone(self), revision }
    }

    pub(crate) fn oldest_pin(&self) -> Option<i64> {
        self.pins.lock().keys().next().copied()
    }

    pub(crate) fn flushed_compact_revision(&self) -> i64 {
        self.flushed.compact_revision.load(Ordering::Acquire)
    }
}

/// What needs no look into cache or engine: an empty value, or one that is pending.
fn pending_value(pending: &Pending, entry: &Entry) -> Option<Bytes> {
    if entry.tombstone || entry.value_len == 0 {
        return Some(Bytes::new());
    }
    pending.find(entry.revision).map(|written| written.value.clone())
}

fn lost(entry: &Entry) -> Error {
    Error::Engine(format!("the value of revision {:?} is not there", entry.revision))
}

/// See [`Shared::pin`].
pub(crate) struct Pin {
    shared: Arc<Shared>,
    revision: i64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.shared.pins.lock();
        if let Some(count) = pins.get_mut(&self.revision) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.revision);
            }
        }
    }
}
