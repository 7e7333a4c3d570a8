use std::sync::Arc;

use bytes::Bytes;

use crate::engine::Batch;
use crate::persist::records;
use crate::shared::Shared;
use crate::state::{COMPACT_REVISION_FRESH, State, live_bytes_of};
use crate::{Error, Revision};

/// Removes compacted versions from memory and engine, in small steps, on a thread of the caller.
///
/// It never goes beyond what the engine knows to be compacted, nor beyond what a reader or a
/// snapshot still needs.
pub struct Compactor {
    pub(crate) shared: Arc<Shared>,
}

/// How far physical compaction has come. After a restart it begins anew: what has gone stays gone.
pub(crate) struct Walk {
    /// Everything up to here has been done.
    done: i64,
    /// The compaction under way and the key where it goes on.
    current: Option<(i64, Box<[u8]>)>,
}

impl Default for Walk {
    fn default() -> Self {
        Walk { done: COMPACT_REVISION_FRESH, current: None }
    }
}

impl Compactor {
    /// Looks at up to `keys_max` keys. True if there is more to do at once; false if the rest
    /// must wait (for a later compaction, for the flusher, or for a reader), or the store was
    /// retired.
    ///
    /// # Errors
    /// [`Error::Engine`]: the engine must be rebuilt.
    pub fn step(&self, keys_max: usize) -> Result<bool, Error> {
        if self.shared.engine.is_retired() {
            return Ok(false);
        }
        let mut walk = self.shared.walk.lock();
        let mut removed = Vec::new();
        {
            let mut state = self.shared.state.write();
            if walk.current.is_none() {
                walk.current = self.due(walk.done).map(|revision| (revision, Box::default()));
            }
            let Some((revision, from)) = &walk.current else { return Ok(false) };
            assert!(*revision <= state.compact_revision);
            match forget(&mut state, from, *revision, keys_max, &mut removed) {
                Some(next) => walk.current = Some((*revision, next)),
                None => (walk.done, walk.current) = (*revision, None),
            }
        }
        self.remove(&removed)?;
        Ok(walk.current.is_some() || self.due(walk.done).is_some())
    }

    /// Whether [`Compactor::step`] would find something to do now.
    pub fn is_due(&self) -> bool {
        let walk = self.shared.walk.lock();
        walk.current.is_some() || self.due(walk.done).is_some()
    }

    /// The revision to compact at next, if any.
    fn due(&self, done: i64) -> Option<i64> {
        let flushed = self.shared.flushed_compact_revision();
        let free = self.shared.oldest_pin().map_or(flushed, |pinned| pinned.min(flushed));
        (free > done).then_some(free)
    }

    fn remove(&self, removed: &[Revision]) -> Result<(), Error> {
        if removed.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for revision in removed {
            batch.delete(Bytes::copy_from_slice(&records::version_key(*revision)));
            batch.delete(Bytes::copy_from_slice(&records::value_key(*revision)));
            self.shared.values.remove(*revision);
        }
        self.shared.work.add_compacted(removed.len());
        self.shared.engine.apply(batch)
    }
}

fn forget(
    state: &mut State,
    from: &[u8],
    revision: i64,
    keys_max: usize,
    removed: &mut Vec<Revision>,
) -> Option<Box<[u8]>> {
    let State { index, live_bytes, .. } = state;
    index.compact(from, revision, keys_max, &mut |key, entry| {
        *live_bytes -= live_bytes_of(key, &entry);
        removed.push(entry.revision);
    })
}
