//! The past, for watchers that were not there.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::persist::records;
use crate::shared::Shared;
use crate::state::State;
use crate::write::key_value;
use crate::{Entry, Error, Event, EventKind, HistoryChunk};

/// Most versions looked at for one chunk, whether or not they pass the filter.
const VERSIONS_MAX: usize = 8 << 10;

/// Bytes that an event takes beside key and value, roughly.
const EVENT_OVERHEAD_BYTES: usize = 64;

/// See [`crate::Reader::history`].
pub(crate) fn history(
    shared: &Shared,
    from: i64,
    to: i64,
    filter: &dyn Fn(&[u8]) -> bool,
    bytes_max: usize,
) -> Result<HistoryChunk, Error> {
    let mut gather = Gather {
        from,
        next: from.max(0),
        to,
        filter,
        bytes_left: bytes_max,
        seen: 0,
        versions: Vec::new(),
    };
    while !gather.is_full() {
        // What was pending may be in the engine by the time it is looked for, but never the
        // other way round: so each round asks anew where the pending part begins.
        let settled_to = {
            let state = shared.state.read();
            gather.check(&state)?;
            gather.to = gather.to.min(state.revision);
            if gather.next > gather.to {
                break;
            }
            let first_pending = state.pending.first_revision().unwrap_or(i64::MAX);
            if first_pending <= gather.next {
                gather.pending(&state);
                break;
            }
            gather.to.min(first_pending - 1)
        };
        gather.settled(shared, settled_to)?;
    }
    gather.events(shared)
}

struct Gather<'a> {
    from: i64,
    /// The first revision not looked at yet.
    next: i64,
    to: i64,
    filter: &'a dyn Fn(&[u8]) -> bool,
    bytes_left: usize,
    seen: usize,
    versions: Vec<Found>,
}

struct Found {
    key: Bytes,
    entry: Entry,
    /// Known if it was pending.
    value: Option<Bytes>,
    prev: Option<Entry>,
}

impl Gather<'_> {
    fn check(&self, state: &State) -> Result<(), Error> {
        if self.from < state.compact_revision { Err(Error::Compacted) } else { Ok(()) }
    }

    fn is_full(&self) -> bool {
        self.bytes_left == 0 || self.seen >= VERSIONS_MAX
    }

    /// Takes one version; breaks when the next revision does not fit any more.
    fn take(&mut self, key: &[u8], entry: &Entry, value: Option<&Bytes>) -> ControlFlow<()> {
        if entry.revision.main > self.to {
            return ControlFlow::Break(());
        }
        // Everything before has been seen, as far as it exists.
        if entry.revision.main > self.next {
            self.next = entry.revision.main;
            if self.is_full() {
                return ControlFlow::Break(());
            }
        }
        self.seen += 1;
        if (self.filter)(key) {
            let bytes = key.len() + entry.value_len as usize + EVENT_OVERHEAD_BYTES;
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
            let (key, value) = (Bytes::copy_from_slice(key), value.cloned());
            self.versions.push(Found { key, entry: *entry, value, prev: None });
        }
        ControlFlow::Continue(())
    }

    fn pending(&mut self, state: &State) {
        for written in state.pending.versions_from(self.next) {
            let value = (!written.entry.tombstone).then_some(&written.value);
            if self.take(&written.key, &written.entry, value).is_break() {
                if self.is_full() && self.next <= self.to {
                    return;
                }
                break;
            }
        }
        self.next = self.to + 1;
    }

    /// Looks at what the engine holds up to `to`.
    fn settled(&mut self, shared: &Shared, to: i64) -> Result<(), Error> {
        let from_key = records::version_key(crate::Revision::new(self.next, 0));
        let to_key = records::version_key(crate::Revision::new(to + 1, 0));
        let mut stopped = None;
        shared.engine.scan(&from_key, &to_key, &mut |key, record| {
            let decoded = records::revision_of_key(key)
                .and_then(|revision| records::decode_version(revision, record));
            let flow = match decoded {
                Some((key, entry)) => self.take(key, &entry, None),
                None => {
                    stopped = Some(Err(Error::Engine("a damaged version record".into())));
                    return ControlFlow::Break(());
                }
            };
            if flow.is_break() {
                stopped = Some(Ok(()));
            }
            flow
        })?;
        match stopped {
            Some(result) => result,
            None => {
                self.next = to + 1;
                Ok(())
            }
        }
    }

    fn events(mut self, shared: &Shared) -> Result<HistoryChunk, Error> {
        for part in self.versions.chunks_mut(crate::shared::SLICE_KEYS_MAX) {
            let state = shared.state.read();
            for found in part {
                found.prev = previous(&state, &found.key, &found.entry);
            }
        }
        self.drop_hidden(&shared.state.read());
        let mut events = Vec::with_capacity(self.versions.len());
        for found in self.versions {
            match event(shared, found) {
                Ok(event) => events.push(event),
                Err(error) => {
                    // Gone under our hands is compacted; gone otherwise is lost.
                    let compacted = shared.state.read().compact_revision;
                    return Err(if self.from < compacted { Error::Compacted } else { error });
                }
            }
        }
        if self.from < shared.state.read().compact_revision {
            return Err(Error::Compacted);
        }
        Ok(HistoryChunk { events, next: self.next })
    }

    /// At exactly the compacted revision, what compaction has not removed yet does not show.
    fn drop_hidden(&mut self, state: &State) {
        let compacted = state.compact_revision;
        self.versions.retain(|found| {
            let revision = found.entry.revision;
            revision.main != compacted
                || state.index.get(&found.key).is_some_and(|history| {
                    history.retained(compacted).any(|entry| entry.revision == revision)
                })
        });
    }
}

/// What a reader one revision earlier saw of `key`, if that is not compacted.
fn previous(state: &State, key: &[u8], entry: &Entry) -> Option<Entry> {
    let before = entry.revision.main - 1;
    if entry.version == 1 || before < state.compact_revision {
        return None;
    }
    state.index.get(key)?.at(before)
}

fn event(shared: &Shared, found: Found) -> Result<Event, Error> {
    let Found { key, entry, value, prev } = found;
    let revision = entry.revision;
    if entry.tombstone {
        let kv = api::mvccpb::KeyValue { key, mod_revision: revision.main, ..Default::default() };
        return Ok(Event { kind: EventKind::Delete, kv, revision, prev });
    }
    let value = match value {
        Some(value) => Some(value),
        None => shared.value(&entry)?,
    };
    let lost = || Error::Engine(format!("the value of revision {revision:?} is not there"));
    let kv = key_value(key, &entry, value.ok_or_else(lost)?);
    Ok(Event { kind: EventKind::Put, kv, revision, prev })
}
