//! One command's changes, as they are made.

use crate::planted::{self, Mistake};
use std::ops::ControlFlow;
use std::sync::Arc;

use api::mvccpb::KeyValue;
use bytes::Bytes;
use parking_lot::RwLockWriteGuard;
use smallvec::SmallVec;

use crate::index::History;
use crate::key_range::KeyRange;
use crate::state::{Delta, State, Written, live_bytes_of};
use crate::work::Calls;
use crate::{Entry, Event, EventBatch, EventKind, Position, Revision};

/// Bytes of a request that are kept are copied out of it if they are fewer than this: a small
/// slice must not keep a large buffer alive. Larger ones are worth sharing.
const SHARED_BYTES_MIN: usize = 64 << 10;

/// What a command changed, one batch per main revision.
pub(crate) type Batches = SmallVec<[Arc<EventBatch>; 1]>;

/// The only way to change the state. Readers wait while it exists; whoever begins it has checked
/// everything before, for nothing is undone.
pub(crate) struct Write<'a> {
    state: RwLockWriteGuard<'a, State>,
    delta: Delta,
    /// Of the main revision that is being made.
    events: Vec<Event>,
    batches: Batches,
    pub(crate) calls: Calls,
}

impl<'a> Write<'a> {
    pub(crate) fn begin(state: RwLockWriteGuard<'a, State>) -> Self {
        Write {
            state,
            delta: Delta::default(),
            events: Vec::new(),
            batches: Batches::new(),
            calls: Calls::default(),
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// For what is neither a key nor a revision.
    pub(crate) fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// What a read sees now: the revision in the making if anything has been changed.
    pub(crate) fn revision(&self) -> i64 {
        self.state.revision + i64::from(!self.events.is_empty())
    }

    /// The revision of the next change.
    fn next(&self) -> Revision {
        let sub = u32::try_from(self.events.len()).expect("fewer changes than 2^32");
        Revision::new(self.state.revision + 1, sub)
    }

    /// Writes `key` and returns what it was before.
    pub(crate) fn put(&mut self, key: &Bytes, value: &Bytes, lease: i64) -> Option<Entry> {
        self.calls.puts += 1;
        self.calls.put_bytes += (key.len() + value.len()) as u64;
        let (key, value) = detach(key, value);
        let revision = self.next();
        let value_len = u32::try_from(value.len()).expect("a value is far below 4 GiB");
        let (mut before, mut event_before, mut made) = (None, None, None);
        self.state.index.push(&key, |history| {
            before = history.current();
            // A creation has nothing before it, though a deletion in the same command would.
            event_before = before.and_then(|_| history.at(revision.main - 1));
            let entry = Entry {
                revision,
                tombstone: false,
                create_revision: before.map_or(revision.main, |entry| entry.create_revision),
                version: before.map_or(0, |entry| entry.version) + 1,
                lease,
                value_len,
            };
            *made.insert(entry)
        });
        let entry = made.expect("the index asked for the entry");
        self.change_lease(&key, before.map_or(0, |entry| entry.lease), lease);
        if before.is_none() {
            self.state.births.record(revision.main, &key, true);
        }
        let kv = key_value(key.clone(), &entry, value.clone());
        self.events.push(Event { kind: EventKind::Put, kv, revision, prev: event_before });
        self.written(key, value, entry);
        before
    }

    /// Deletes what exists of `range` and returns what it was.
    pub(crate) fn delete(&mut self, range: &KeyRange) -> Vec<(Bytes, Entry)> {
        self.calls.deletes += 1;
        let found = self.existing(range);
        for (key, before) in &found {
            self.delete_existing(key, before);
        }
        found
    }

    fn existing(&self, range: &KeyRange) -> Vec<(Bytes, Entry)> {
        if let Some(key) = range.single() {
            let current = self.state.index.get(key).and_then(History::current);
            return current.map(|entry| (Bytes::copy_from_slice(key), entry)).into_iter().collect();
        }
        // The keys live as long as the events of this one command: one buffer for all of them.
        let (mut keys, mut found) = (Vec::new(), Vec::new());
        self.state.index.visit(range, |key, history| {
            if let Some(entry) = history.current() {
                let start = keys.len();
                keys.extend_from_slice(key);
                found.push((start..keys.len(), entry));
            }
            ControlFlow::Continue(())
        });
        let keys = Bytes::from(keys);
        found.into_iter().map(|(key, entry)| (keys.slice(key), entry)).collect()
    }

    fn delete_existing(&mut self, key: &Bytes, before: &Entry) {
        let revision = self.next();
        let tombstone = Entry {
            revision,
            tombstone: true,
            create_revision: 0,
            version: 0,
            lease: 0,
            value_len: 0,
        };
        let mut event_before = None;
        self.state.index.push(key, |history| {
            event_before = history.at(revision.main - 1);
            tombstone
        });
        self.change_lease(key, before.lease, 0);
        self.state.births.record(revision.main, key, false);
        let kv = KeyValue { key: key.clone(), mod_revision: revision.main, ..KeyValue::default() };
        self.events.push(Event { kind: EventKind::Delete, kv, revision, prev: event_before });
        self.written(key.clone(), Bytes::new(), tombstone);
    }

    fn change_lease(&mut self, key: &[u8], from: i64, to: i64) {
        if from == to {
            return;
        }
        self.state.leases.detach(from, key);
        if to != 0 {
            assert!(self.state.leases.attach(to, key), "the lease was checked before the write");
        }
    }

    fn written(&mut self, key: Bytes, value: Bytes, entry: Entry) {
        self.state.live_bytes += live_bytes_of(&key, &entry);
        self.delta.versions.push(Written { key, value, entry });
    }

    /// Writes another record for the engine.
    pub(crate) fn record(&mut self, key: Bytes, value: Option<Bytes>) {
        self.delta.records.push((key, value));
    }

    /// What was changed so far is one main revision, if it was anything.
    pub(crate) fn end_revision(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let revision = self.state.revision + 1;
        let events = std::mem::take(&mut self.events);
        assert!(events.iter().all(|event| event.revision.main == revision));
        let is_reused = planted::is(Mistake::ReuseRevision) && revision % 50 == 0;
        self.state.revision = if is_reused { revision - 1 } else { revision };
        self.batches.push(Arc::new(EventBatch { revision, events }));
    }

    /// Ends the command: it is applied at `position`.
    pub(crate) fn commit(mut self, position: Position) -> Batches {
        self.end_revision();
        let last = &self.state.position;
        // The log may begin with index 0, as that of raft does.
        let is_first = *last == Position::default();
        assert!(is_first || last.index < position.index, "entries are applied in order, each once");
        let mut delta = self.delta;
        delta.position = position.clone();
        delta.revision = self.state.revision;
        delta.compact_revision = self.state.compact_revision;
        self.state.position = position;
        self.state.pending.push(delta);
        self.batches
    }
}

/// A key and its value in memory of their own, where that is small.
fn detach(key: &Bytes, value: &Bytes) -> (Bytes, Bytes) {
    if value.len() >= SHARED_BYTES_MIN {
        return (Bytes::copy_from_slice(key), value.clone());
    }
    let mut both = Vec::with_capacity(key.len() + value.len());
    both.extend_from_slice(key);
    both.extend_from_slice(value);
    let both = Bytes::from(both);
    (both.slice(..key.len()), both.slice(key.len()..))
}

pub(crate) fn key_value(key: Bytes, entry: &Entry, value: Bytes) -> KeyValue {
    KeyValue {
        key,
        create_revision: entry.create_revision,
        mod_revision: entry.revision.main,
        version: entry.version,
        value,
        lease: entry.lease,
    }
}
