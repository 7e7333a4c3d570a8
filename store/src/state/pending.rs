//! What was applied and is not in the engine yet.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{Entry, Position, Revision};

/// Bytes that a pending version takes beside its key and value, roughly.
const WRITTEN_OVERHEAD_BYTES: usize = 128;

/// One version as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) entry: Entry,
}

/// All that one log entry changed: what the engine gets of it, together or not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delta {
    /// The mark that goes with it.
    pub(crate) position: Position,
    pub(crate) revision: i64,
    pub(crate) compact_revision: i64,
    /// Ascending by revision.
    pub(crate) versions: SmallVec<[Written; 1]>,
    /// Other records, as the engine has them.
    pub(crate) records: Vec<(Bytes, Option<Bytes>)>,
}

impl Delta {
    pub(crate) fn bytes(&self) -> usize {
        let versions = self
            .versions
            .iter()
            .map(|written| written.key.len() + written.value.len() + WRITTEN_OVERHEAD_BYTES);
        let records = self
            .records
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len));
        versions.sum::<usize>() + records.sum::<usize>()
    }

    fn only_moves_the_mark(&self) -> bool {
        self.versions.is_empty() && self.records.is_empty()
    }
}

/// Deltas in the order of the log. Shared, so that the flusher can encode them without a lock.
#[derive(Default)]
pub(crate) struct Pending {
    deltas: VecDeque<Arc<Delta>>,
    bytes: usize,
}

impl Pending {
    pub(crate) fn push(&mut self, delta: Delta) {
        // Marks in a row are one mark, unless the flusher holds the earlier one just now.
        if let Some(last) = self.deltas.back_mut().and_then(Arc::get_mut)
            && delta.only_moves_the_mark()
        {
            last.position = delta.position;
            last.compact_revision = delta.compact_revision;
            return;
        }
        self.bytes += delta.bytes();
        self.deltas.push_back(Arc::new(delta));
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Deltas from the oldest on, up to and with log index `index_max`: at least one if there is
    /// any, then up to about `bytes_max`.
    pub(crate) fn oldest(&self, bytes_max: usize, index_max: u64) -> Vec<Arc<Delta>> {
        let mut bytes = 0;
        let mut taken = Vec::new();
        let ripe = self.deltas.iter().take_while(|delta| delta.position.index <= index_max);
        for delta in ripe {
            bytes += delta.bytes();
            if bytes > bytes_max && !taken.is_empty() {
                break;
            }
            taken.push(Arc::clone(delta));
        }
        taken
    }

    /// Forgets these, the oldest: the engine has them. The caller drops them when nobody waits.
    pub(crate) fn forget(&mut self, oldest: &[Arc<Delta>]) {
        for known in oldest {
            let delta = self.deltas.pop_front().expect("it has what it gave");
            assert!(Arc::ptr_eq(&delta, known), "deltas leave in the order of the log");
            self.bytes -= delta.bytes();
        }
    }

    pub(crate) fn find(&self, revision: Revision) -> Option<&Written> {
        let place = self.deltas.partition_point(|delta| delta.revision < revision.main);
        // Deltas that changed no key share the revision of the one before.
        let candidates = self.deltas.range(place..);
        candidates.take_while(|delta| !is_behind(delta, revision)).find_map(|delta| {
            let of_revision = |written: &Written| written.entry.revision.cmp(&revision);
            let found = delta.versions.binary_search_by(of_revision).ok()?;
            Some(&delta.versions[found])
        })
    }

    /// Versions from main revision `from` on, ascending.
    pub(crate) fn versions_from(&self, from: i64) -> impl Iterator<Item = &Written> {
        let place = self.deltas.partition_point(|delta| delta.revision < from);
        let versions = self.deltas.range(place..).flat_map(|delta| &delta.versions);
        versions.skip_while(move |written| written.entry.revision.main < from)
    }

    /// Main revision of the oldest pending version.
    pub(crate) fn first_revision(&self) -> Option<i64> {
        let mut versions = self.deltas.iter().flat_map(|delta| &delta.versions);
        versions.next().map(|written| written.entry.revision.main)
    }
}

fn is_behind(delta: &Delta, revision: Revision) -> bool {
    delta.versions.first().is_some_and(|written| revision < written.entry.revision)
}
