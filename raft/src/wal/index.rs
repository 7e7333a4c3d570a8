//! Where the written entries lie, and what else the stream of records amounts to. Recovery and the
//! writer feed it with the same steps, so that what was written is what will be recovered.

use bytes::Bytes;
use std::collections::VecDeque;

/// Where one entry lies: 12 bytes for each entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// The segment's sequence, counted from the sequence of the first segment of this opening.
    pub(super) segment: u32,
    /// Where its record begins, in bytes.
    pub(super) offset: u32,
    /// Bytes of its record.
    pub(super) len: u32,
}

/// What one record does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Vote(Bytes),
    Entry(u64, Slot),
    Next(u64),
    Purge(u64, Bytes),
}

/// What the records so far amount to.
///
/// Invariants: `slots` hold the entries `base..next()`; every entry from `floor` on ought to be
/// there, so `base > floor` means that entries are missing (while the older segments are gone, a
/// later purge mark may still explain that; see [`Index::missing`]).
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    pub(super) vote: Option<Bytes>,
    pub(super) purged: Option<(u64, Bytes)>,
    pub(super) floor: u64,
    base: u64,
    slots: VecDeque<Slot>,
}

impl Index {
    /// The state at the head of the oldest segment that is left.
    pub(super) fn new(floor: u64, next: u64) -> Index {
        Index { floor, base: next, ..Index::default() }
    }

    /// The state without its slots: what the head of a new segment must carry.
    pub(super) fn head(&self) -> Index {
        Index {
            vote: self.vote.clone(),
            purged: self.purged.clone(),
            floor: self.floor,
            base: self.next(),
            slots: VecDeque::new(),
        }
    }

    /// The index that the next entry has.
    pub(super) fn next(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// The indexes of entries that ought to be here and are not.
    pub(super) fn missing(&self) -> Option<(u64, u64)> {
        (self.base > self.floor).then_some((self.floor, self.base))
    }

    pub(super) fn slot(&self, index: u64) -> Option<Slot> {
        let nth = usize::try_from(index.checked_sub(self.base)?).ok()?;
        self.slots.get(nth).copied()
    }

    pub(super) fn first_slot(&self) -> Option<Slot> {
        self.slots.front().copied()
    }

    /// Does what a record says; the reason if no correct log can hold it here.
    pub(super) fn apply(&mut self, step: Step) -> Result<(), &'static str> {
        match step {
            Step::Vote(vote) => self.vote = Some(vote),
            Step::Entry(index, slot) => self.push(index, slot)?,
            Step::Next(next) => self.go_on_at(next)?,
            Step::Purge(index, log_id) => self.purge(index, log_id)?,
        }
        Ok(())
    }

    fn push(&mut self, index: u64, slot: Slot) -> Result<(), &'static str> {
        if index != self.next() {
            return Err("an entry does not follow the one before it");
        }
        if index == u64::MAX {
            return Err("an index is out of range");
        }
        self.slots.push_back(slot);
        Ok(())
    }

    fn go_on_at(&mut self, next: u64) -> Result<(), &'static str> {
        if self.purged.as_ref().is_some_and(|(purged, _)| next <= *purged) {
            return Err("a truncation reaches behind the purge mark");
        }
        if next > self.next() {
            if !self.slots.is_empty() || self.missing().is_some() {
                return Err("the log goes on beyond its end");
            }
            (self.base, self.floor) = (next, next);
            return Ok(());
        }
        let kept = next.saturating_sub(self.base);
        self.slots.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.base = self.base.min(next);
        self.floor = self.floor.min(next);
        Ok(())
    }

    fn purge(&mut self, index: u64, log_id: Bytes) -> Result<(), &'static str> {
        let Some(first) = index.checked_add(1) else { return Err("an index is out of range") };
        if self.purged.as_ref().is_some_and(|(purged, _)| index <= *purged) {
            return Ok(());
        }
        if first >= self.next() {
            self.slots.clear();
            self.base = first;
        } else if let Some(gone) = first.checked_sub(self.base) {
            let gone = usize::try_from(gone).unwrap_or(usize::MAX).min(self.slots.len());
            self.slots.drain(..gone);
            self.base = first;
        }
        self.floor = self.floor.max(first);
        self.purged = Some((index, log_id));
        Ok(())
    }
}
