//! The newest entries, in memory: all that are not yet written, and as many written ones as fit.

use super::WalEntry;
use std::collections::VecDeque;

/// What an entry costs besides its bytes: the struct, and the shared headers of its buffers.
const ENTRY_OVERHEAD_BYTES: usize = 160;

/// The entries from some index to the end of the log, without gap.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    entry: WalEntry,
    /// The operation that appended it.
    operation: u64,
}

impl Recent {
    pub(super) fn push(&mut self, entry: WalEntry, operation: u64) {
        self.bytes += cost(&entry);
        self.entries.push_back(Kept { entry, operation });
    }

    /// The lowest index held; `None` if there is none.
    pub(super) fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|kept| kept.entry.index)
    }

    pub(super) fn get(&self, index: u64) -> Option<&WalEntry> {
        let nth = usize::try_from(index.checked_sub(self.first_index()?)?).ok()?;
        self.entries.get(nth).map(|kept| &kept.entry)
    }

    /// Forgets the entries at and above `next`.
    pub(super) fn truncate(&mut self, next: u64) {
        while self.entries.back().is_some_and(|kept| kept.entry.index >= next) {
            let gone = self.entries.pop_back();
            self.bytes -= gone.map_or(0, |kept| cost(&kept.entry));
        }
    }

    /// Forgets the entries below `first`.
    pub(super) fn purge(&mut self, first: u64) {
        while self.first_index().is_some_and(|index| index < first) {
            self.pop_front();
        }
    }

    /// Forgets the oldest entries that were written by operation `written` or before, until the
    /// rest takes at most `bytes_max`.
    pub(super) fn evict(&mut self, written: u64, bytes_max: usize) {
        let is_written = |kept: &Kept| kept.operation <= written;
        while self.bytes > bytes_max && self.entries.front().is_some_and(is_written) {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        let gone = self.entries.pop_front();
        self.bytes -= gone.map_or(0, |kept| cost(&kept.entry));
    }
}

fn cost(entry: &WalEntry) -> usize {
    entry.log_id.len() + entry.payload.len() + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn only_written_entries_are_evicted() {
        // Proves: an entry that is nowhere else is kept, however small the cache.
        let mut recent = Recent::default();
        for index in 5..9 {
            let entry = WalEntry { index, log_id: Bytes::new(), payload: Bytes::new() };
            recent.push(entry, index);
        }
        recent.evict(6, usize::MAX);
        assert_eq!(recent.first_index(), Some(5));
        recent.evict(6, 0);
        assert_eq!(recent.first_index(), Some(7));
        assert_eq!(recent.get(6), None);
        assert_eq!(recent.get(8).map(|entry| entry.index), Some(8));
        recent.truncate(8);
        recent.purge(8);
        assert_eq!((recent.first_index(), recent.bytes), (None, 0));
    }
}
