use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::Error;
use crate::engine::Batch;
use crate::persist::records::{self, Mark};
use crate::shared::Shared;
use crate::state::{Delta, Written};

/// Most bytes that one batch takes to the engine, but for a larger command.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Writes applied state behind to the engine, on a thread of the caller.
pub struct Flusher {
    pub(crate) shared: Arc<Shared>,
}

impl Flusher {
    /// Writes what is pending (a bounded part of it) as one batch together with the mark of how
    /// far the log was applied. True if something was written: nothing is by a retired store.
    ///
    /// Nothing is durable before [`crate::engine::Engine::flush`].
    ///
    /// # Errors
    /// [`Error::Engine`]: the engine must be rebuilt.
    pub fn flush_once(&self) -> Result<bool, Error> {
        self.flush_upto(u64::MAX)
    }

    /// The same with no more than the entries up to and with log index `index_max`, so that the
    /// engine never knows of an entry that the log on disk does not have.
    ///
    /// # Errors
    /// [`Error::Engine`]: the engine must be rebuilt.
    pub fn flush_upto(&self, index_max: u64) -> Result<bool, Error> {
        let _turn = self.shared.flushed.turn.lock();
        if self.shared.engine.is_retired() {
            return Ok(false);
        }
        let deltas = self.shared.state.read().pending.oldest(BATCH_BYTES_MAX, index_max);
        let Some(last) = deltas.last() else { return Ok(false) };
        let mark = Mark {
            position: last.position.clone(),
            revision: last.revision,
            compact_revision: last.compact_revision,
        };
        self.shared.engine.apply(batch(&deltas, &mark))?;
        for written in deltas.iter().flat_map(|delta| &delta.versions) {
            self.shared.values.insert(written.entry.revision, written.value.clone());
        }
        // Only now: whoever does not find a value among the pending ones finds it in the engine.
        self.shared.state.write().pending.forget(&deltas);
        let flushed = &self.shared.flushed;
        flushed.index.store(mark.position.index, Ordering::Release);
        flushed.compact_revision.store(mark.compact_revision, Ordering::Release);
        Ok(true)
    }

    /// To be called before a snapshot is restored to the engine of this store: from now on the
    /// store writes nothing to it, and whoever reads what it holds is told [`Error::Replaced`].
    /// Neither [`Flusher::flush_once`] nor [`crate::Compactor::step`] may be running.
    pub fn retire(&self) {
        self.shared.engine.retire();
    }

    /// Bytes that wait for the engine.
    pub fn pending_bytes(&self) -> usize {
        self.shared.state.read().pending.bytes()
    }

    /// Index of the newest log entry whose effects, and those of all before, are in the engine;
    /// 0 also before the first.
    pub fn flushed_index(&self) -> u64 {
        self.shared.flushed.index.load(Ordering::Acquire)
    }
}

fn batch(deltas: &[Arc<Delta>], mark: &Mark) -> Batch {
    let versions = deltas.iter().flat_map(|delta| &delta.versions);
    let records = deltas.iter().flat_map(|delta| &delta.records);
    let mut batch = Batch::default();
    batch.ops.reserve(2 * versions.clone().count() + records.clone().count() + 1);
    for Written { key, value, entry } in versions {
        let version_key = Bytes::copy_from_slice(&records::version_key(entry.revision));
        batch.put(version_key, records::encode_version(key, entry));
        if !value.is_empty() {
            let value_key = Bytes::copy_from_slice(&records::value_key(entry.revision));
            batch.put(value_key, value.clone());
        }
    }
    batch.ops.extend(records.cloned());
    batch.put(Bytes::from_static(records::MARK_KEY), mark.encode());
    batch
}
