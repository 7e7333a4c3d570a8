//! The newest entries of the log, decoded.
//!
//! An entry is proposed, written and applied within milliseconds: while it is here, applying it
//! costs neither a read nor a decoding. It never answers for an entry that the log does not hold.

use std::collections::VecDeque;
use std::ops::Range;

use openraft::EntryPayload;

use crate::types::Entry;

/// What an entry weighs beside the bytes of its command, roughly.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// A run of entries without gap, bounded in bytes; the oldest leave first.
pub(crate) struct LogCache {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl LogCache {
    pub(crate) fn new(bytes_max: usize) -> LogCache {
        LogCache { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the entry that was appended last.
    pub(crate) fn push(&mut self, entry: Entry) {
        if self.entries.back().is_some_and(|last| last.log_id.index + 1 != entry.log_id.index) {
            self.clear();
        }
        self.bytes += weight(&entry);
        self.entries.push_back(entry);
        while self.bytes > self.bytes_max {
            self.pop_front();
        }
    }

    /// Forgets every entry above `index`; `None`: all.
    pub(crate) fn truncate_after(&mut self, index: Option<u64>) {
        while let Some(last) = self.entries.back()
            && index.is_none_or(|index| last.log_id.index > index)
        {
            self.bytes -= weight(last);
            self.entries.pop_back();
        }
    }

    /// Forgets every entry up to and with `index`.
    pub(crate) fn purge(&mut self, index: u64) {
        while self.entries.front().is_some_and(|first| first.log_id.index <= index) {
            self.pop_front();
        }
    }

    /// The entries of `range`, at most `count_max`, if the first of them is here; else nothing.
    pub(crate) fn get(&self, range: Range<u64>, count_max: usize) -> Vec<Entry> {
        let Some(first) = self.entries.front().map(|entry| entry.log_id.index) else {
            return Vec::new();
        };
        let Some(skip) = range.start.checked_sub(first) else { return Vec::new() };
        let Ok(skip) = usize::try_from(skip) else { return Vec::new() };
        let wanted = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip).take(wanted.min(count_max)).cloned().collect()
    }

    fn pop_front(&mut self) {
        if let Some(first) = self.entries.pop_front() {
            self.bytes -= weight(&first);
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

fn weight(entry: &Entry) -> usize {
    match &entry.payload {
        // Decoded and encoded.
        EntryPayload::Normal(proposal) => 2 * proposal.encoded_len() + ENTRY_OVERHEAD_BYTES,
        _ => ENTRY_OVERHEAD_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{CommittedLeaderId, LogId};

    fn entry(index: u64) -> Entry {
        let log_id = LogId { leader_id: CommittedLeaderId::new(1), index };
        Entry { log_id, payload: EntryPayload::Blank }
    }

    fn indexes(cache: &LogCache, range: Range<u64>) -> Vec<u64> {
        cache.get(range, 100).iter().map(|entry| entry.log_id.index).collect()
    }

    #[test]
    fn it_answers_for_what_it_holds_only() {
        // Proves that a range is served from its start or not at all, and never past the end.
        let mut cache = LogCache::new(4 * ENTRY_OVERHEAD_BYTES);
        (10..16).for_each(|index| cache.push(entry(index)));
        assert_eq!(indexes(&cache, 11..14), [] as [u64; 0], "10 and 11 were pushed out");
        assert_eq!(indexes(&cache, 12..14), [12, 13]);
        assert_eq!(indexes(&cache, 14..99), [14, 15]);
        assert_eq!(indexes(&cache, 16..99), [] as [u64; 0]);
        assert_eq!(cache.get(12..16, 2).len(), 2);
    }

    #[test]
    fn it_follows_the_log() {
        // Proves that truncated, purged and replaced entries are gone.
        let mut cache = LogCache::new(usize::MAX);
        (0..10).for_each(|index| cache.push(entry(index)));
        cache.truncate_after(Some(7));
        cache.purge(2);
        assert_eq!(indexes(&cache, 3..99), [3, 4, 5, 6, 7]);
        cache.push(entry(20));
        assert_eq!(indexes(&cache, 3..99), [] as [u64; 0], "a gap starts a new run");
        assert_eq!(indexes(&cache, 20..99), [20]);
        cache.truncate_after(None);
        assert_eq!(cache.bytes, 0);
    }
}
