//! Reading entries back: the newest from memory, the others from their segments.

use super::WalEntry;
use super::error::{Error, ErrorKind};
use super::index::Slot;
use super::record::{self, Kind};
use super::segment::Segment;
use super::state::State;
use bytes::Bytes;
use std::sync::Arc;

/// Neighbouring records are read in one piece of at most this many bytes (or one record).
const SPAN_BYTES_MAX: usize = 1 << 20;

/// What a read of some range has to do; made under the lock, carried out without it.
pub(super) struct Plan {
    spans: Vec<Span>,
    recent: Vec<WalEntry>,
}

/// Records that lie close to each other in one segment.
struct Span {
    segment: Arc<Segment>,
    entries: Vec<(u64, Slot)>,
}

impl Span {
    fn start(&self) -> u32 {
        self.entries[0].1.offset
    }

    /// Bytes from the first record to the end of `slot`'s.
    fn bytes_with(&self, slot: Slot) -> usize {
        slot.offset.saturating_sub(self.start()) as usize + slot.len as usize
    }

    fn takes(&self, segment: &Arc<Segment>, slot: Slot) -> bool {
        Arc::ptr_eq(&self.segment, segment) && self.bytes_with(slot) <= SPAN_BYTES_MAX
    }
}

impl Plan {
    /// Plans to read from `from` to `to` (exclusive): at least one entry, then up to `bytes_max`.
    pub(super) fn new(state: &State, from: u64, to: u64, bytes_max: usize) -> Result<Plan, Error> {
        let mut plan = Plan { spans: Vec::new(), recent: Vec::new() };
        let mut bytes = 0;
        for index in from..to {
            let found = state.recent.get(index);
            let slot = if found.is_none() { Some(written(state, index)?) } else { None };
            bytes += found.map_or(0, |entry| entry.log_id.len() + entry.payload.len());
            bytes += slot.map_or(0, |slot| slot.len as usize);
            if index > from && bytes > bytes_max {
                break;
            }
            plan.recent.extend(found.cloned());
            if let Some(slot) = slot {
                plan.add(state, index, slot)?;
            }
        }
        Ok(plan)
    }

    fn add(&mut self, state: &State, index: u64, slot: Slot) -> Result<(), Error> {
        let segment = state.segments.of(slot).ok_or_else(|| missing(index))?;
        match self.spans.last_mut() {
            Some(span) if span.takes(segment, slot) => span.entries.push((index, slot)),
            _ => {
                let segment = Arc::clone(segment);
                self.spans.push(Span { segment, entries: vec![(index, slot)] });
            }
        }
        Ok(())
    }

    /// Reads what must come from disk (blocking) and puts the rest behind it.
    pub(super) fn run(self) -> Result<Vec<WalEntry>, Error> {
        let mut entries = Vec::new();
        for span in &self.spans {
            read_span(span, &mut entries)?;
        }
        entries.extend(self.recent);
        Ok(entries)
    }
}

fn written(state: &State, index: u64) -> Result<Slot, Error> {
    state.index.slot(index).ok_or_else(|| missing(index))
}

pub(super) fn missing(index: u64) -> Error {
    Error::new(ErrorKind::Missing, format!("entry {index} is not in the log"))
}

fn read_span(span: &Span, entries: &mut Vec<WalEntry>) -> Result<(), Error> {
    let segment = &span.segment;
    let start = span.start();
    let last = span.entries.last().map_or(span.entries[0].1, |&(_, slot)| slot);
    let mut buffer = vec![0; span.bytes_with(last)];
    let count = segment.file.read_at(&mut buffer, u64::from(start)).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot read {}: {error}", segment.name))
    })?;
    buffer.truncate(count);
    let buffer = Bytes::from(buffer);
    for &(index, slot) in &span.entries {
        let at = slot.offset as usize;
        let found = record::decode(&buffer, start as usize, at, &segment.salt)
            .filter(|found| found.kind == Kind::Entry && found.index == index)
            .ok_or_else(|| {
                let name = &segment.name;
                let why = format!("the log is corrupt: {name}: no entry {index} at byte {at}");
                Error::new(ErrorKind::Corrupt, why)
            })?;
        let (log_id, payload) = (buffer.slice(found.log_id), buffer.slice(found.data));
        entries.push(WalEntry { index, log_id, payload });
    }
    Ok(())
}
