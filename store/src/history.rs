//! The past, for watchers that were not there.

use bytes::Bytes;

use crate::shared::{SLICE_KEYS_MAX, Shared};
use crate::state::State;
use crate::walk::Walk;
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
    let (mut found, mut bytes, mut seen) = (Vec::new(), 0, 0);
    let mut walk = Walk::new(from, to);
    let not_compacted = |state: &State| {
        if from < state.compact_revision { Err(Error::Compacted) } else { Ok(()) }
    };
    walk.part(shared, not_compacted, &mut |key, entry, value| {
        seen += 1;
        if filter(key) {
            bytes += key.len() + entry.value_len as usize + EVENT_OVERHEAD_BYTES;
            let (key, value) = (Bytes::copy_from_slice(key), value.cloned());
            found.push(Found { key, entry: *entry, value, prev: None });
        }
        bytes >= bytes_max || seen >= VERSIONS_MAX
    })?;
    find_previous(shared, &mut found);
    drop_hidden(&shared.state.read(), &mut found);
    let events: Result<_, Error> = found.into_iter().map(|found| event(shared, found)).collect();
    // What has gone under our hands is compacted; what has gone otherwise is lost.
    not_compacted(&shared.state.read())?;
    Ok(HistoryChunk { events: events?, next: walk.next })
}

struct Found {
    key: Bytes,
    entry: Entry,
    /// Known if it was pending.
    value: Option<Bytes>,
    prev: Option<Entry>,
}

fn find_previous(shared: &Shared, found: &mut [Found]) {
    for part in found.chunks_mut(SLICE_KEYS_MAX) {
        let state = shared.state.read();
        for found in part {
            found.prev = previous(&state, &found.key, &found.entry);
        }
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

/// At exactly the compacted revision, what compaction has not removed yet does not show.
fn drop_hidden(state: &State, found: &mut Vec<Found>) {
    let compacted = state.compact_revision;
    found.retain(|found| {
        let revision = found.entry.revision;
        revision.main != compacted || is_retained(state, &found.key, &found.entry, compacted)
    });
}

/// Whether a compaction at `compacted` keeps this version, even if it has not begun.
pub(crate) fn is_retained(state: &State, key: &[u8], entry: &Entry, compacted: i64) -> bool {
    let history = state.index.get(key);
    history.is_some_and(|history| history.retains(entry.revision, compacted))
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
