//! A store of plain maps that never forgets, but answers as if it did.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::mvccpb::KeyValue;
use bytes::Bytes;
use parking_lot::Mutex;
use store::{Entry, Error, Event, EventBatch, EventKind, HistoryChunk, Revision};

use crate::{Source, event};

#[derive(Clone)]
pub(super) struct Fake(Arc<Mutex<State>>);

struct State {
    revision: i64,
    compacted: i64,
    broken: Option<Error>,
    batches: BTreeMap<i64, Arc<EventBatch>>,
    live: BTreeMap<Bytes, Entry>,
    values: BTreeMap<Revision, KeyValue>,
    history_reads: usize,
    /// What happens while history is read the next time.
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
}

impl Fake {
    pub(super) fn new() -> Fake {
        Fake(Arc::new(Mutex::new(State {
            revision: 1,
            compacted: 0,
            broken: None,
            batches: BTreeMap::new(),
            live: BTreeMap::new(),
            values: BTreeMap::new(),
            history_reads: 0,
            meanwhile: None,
        })))
    }

    /// Puts, and deletes where there is no value. `None`: nothing changed.
    pub(super) fn write(&self, changes: &[(&str, Option<&str>)]) -> Option<Arc<EventBatch>> {
        let mut state = self.0.lock();
        let main = state.revision + 1;
        let mut events = Vec::new();
        for (key, value) in changes {
            let revision = Revision { main, sub: u32::try_from(events.len()).unwrap() };
            events.extend(state.change(Bytes::from(key.to_string()), *value, revision));
        }
        if events.is_empty() {
            return None;
        }
        state.revision = main;
        let batch = Arc::new(EventBatch { revision: main, events });
        state.batches.insert(main, Arc::clone(&batch));
        Some(batch)
    }

    pub(super) fn compact(&self, revision: i64) {
        self.0.lock().compacted = revision;
    }

    /// From now on the engine answers with errors.
    pub(super) fn break_down(&self) {
        self.0.lock().broken = Some(Error::Engine("broken".into()));
    }

    /// Whether another state is taking the place of this one.
    pub(super) fn set_replaced(&self, is_replaced: bool) {
        self.0.lock().broken = is_replaced.then_some(Error::Replaced);
    }

    /// Does this as soon as history is asked for, before it is read.
    pub(super) fn meanwhile(&self, what: impl FnOnce() + Send + 'static) {
        self.0.lock().meanwhile = Some(Box::new(what));
    }

    pub(super) fn history_reads(&self) -> usize {
        self.0.lock().history_reads
    }

    /// All events ever, with the key-value each replaced.
    pub(super) fn everything(&self) -> Vec<(Event, Option<KeyValue>)> {
        let state = self.0.lock();
        let events = state.batches.values().flat_map(|batch| &batch.events);
        let prev = |event: &Event| state.values.get(&event.prev?.revision).cloned();
        events.map(|event| (event.clone(), prev(event))).collect()
    }
}

impl State {
    fn change(&mut self, key: Bytes, value: Option<&str>, revision: Revision) -> Option<Event> {
        let prev = self.live.get(&key).copied();
        let Some(value) = value else {
            self.live.remove(&key)?;
            let kv = KeyValue { key, mod_revision: revision.main, ..Default::default() };
            return Some(Event { kind: EventKind::Delete, kv, revision, prev });
        };
        let entry = Entry {
            revision,
            tombstone: false,
            create_revision: prev.map_or(revision.main, |prev| prev.create_revision),
            version: prev.map_or(1, |prev| prev.version + 1),
            lease: 0,
            value_len: u32::try_from(value.len()).unwrap(),
        };
        let kv = KeyValue {
            key: key.clone(),
            create_revision: entry.create_revision,
            mod_revision: revision.main,
            version: entry.version,
            value: Bytes::from(value.to_owned()),
            lease: 0,
        };
        self.live.insert(key, entry);
        self.values.insert(revision, kv.clone());
        Some(Event { kind: EventKind::Put, kv, revision, prev })
    }
}

impl Source for Fake {
    fn revision(&self) -> i64 {
        self.0.lock().revision
    }

    fn compact_revision(&self) -> i64 {
        self.0.lock().compacted
    }

    fn history(
        &self,
        from: i64,
        to: i64,
        filter: &dyn Fn(&[u8]) -> bool,
        bytes_max: usize,
    ) -> Result<HistoryChunk, Error> {
        if let Some(what) = { self.0.lock().meanwhile.take() } {
            what();
        }
        let mut state = self.0.lock();
        state.history_reads += 1;
        if let Some(error) = &state.broken {
            return Err(error.clone());
        }
        if from < state.compacted {
            return Err(Error::Compacted);
        }
        assert!(from <= to && to <= state.revision, "{from}..={to} of {}", state.revision);
        let mut chunk = HistoryChunk { events: Vec::new(), next: from };
        let mut bytes = 0;
        for (revision, batch) in state.batches.range(from..=to) {
            let wanted = batch.events.iter().filter(|event| filter(&event.kv.key));
            chunk.events.extend(wanted.cloned());
            bytes += batch.events.iter().map(|event| event::cost(event, false)).sum::<usize>();
            chunk.next = revision + 1;
            if bytes >= bytes_max {
                return Ok(chunk);
            }
        }
        chunk.next = to + 1;
        Ok(chunk)
    }

    fn key_value(&self, key: &Bytes, entry: &Entry) -> Result<Option<KeyValue>, Error> {
        let state = self.0.lock();
        if let Some(error) = &state.broken {
            return Err(error.clone());
        }
        let kv = state.values.get(&entry.revision).cloned();
        assert_eq!(kv.as_ref().map(|kv| &kv.key), Some(key));
        Ok(kv)
    }
}
