//! Does to a store and to the model what a step says, and compares.

use std::sync::Arc;

use crate::engine::{Engine, MemEngine};
use crate::{
    Applied, Compactor, Error, Event, Flusher, Options, Position, Reader, Snapshot, Store,
};
use api::berthpb::Command;
use api::berthpb::command::Op;
use api::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest};
use bytes::Bytes;

use super::model::Model;
use super::step::Step;

pub(super) struct Driver {
    engine: Arc<dyn Engine>,
    store: Store,
    reader: Reader,
    flusher: Flusher,
    compactor: Compactor,
    model: Model,
    /// Everything applied, with what it answered.
    log: Vec<(Command, Applied)>,
    /// Applies the same and is left alone otherwise.
    twin: Store,
    held: Option<(Snapshot, Vec<u8>)>,
}

impl Driver {
    pub(super) fn new() -> Self {
        let engine: Arc<dyn Engine> = Arc::new(MemEngine::new());
        let store = open(&engine);
        Driver {
            reader: store.reader(),
            flusher: store.flusher(),
            compactor: store.compactor(),
            engine,
            store,
            model: Model::new(),
            log: Vec::new(),
            twin: open(&(Arc::new(MemEngine::new()) as Arc<dyn Engine>)),
            held: None,
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Apply(op) => self.apply(op),
            Step::Range(request) => self.range(&request),
            Step::ReadTxn(request) => self.read_txn(&request),
            Step::History { from, to, bytes_max } => self.history(from, to, bytes_max),
            Step::Flush => drop(self.flusher.flush_once().unwrap()),
            Step::Compact(keys_max) => drop(self.compactor.step(keys_max).unwrap()),
            Step::Crash => self.use_store(open(&self.engine)),
            Step::SnapshotRestore => self.snapshot_restore(),
            Step::HoldSnapshot => self.hold_snapshot(),
        }
    }

    fn apply(&mut self, op: Op) {
        let command = Command { principal: None, origin: None, op: Some(op) };
        if self.reader.check(&command).is_err() {
            return;
        }
        let index = self.log.len() as u64 + 1;
        let before = self.model.revision;
        let expected = self.model.apply(index, command.op.as_ref().unwrap());
        let applied = self.store.apply(position(index), &command);
        assert_eq!(applied.result, expected, "{command:?}");
        assert_eq!(applied.revision, self.model.revision, "{command:?}");
        let events: Vec<Event> =
            applied.events.iter().flat_map(|batch| batch.events.clone()).collect();
        if before >= self.model.compacted {
            assert_eq!(events, self.model.history(before + 1).unwrap(), "{command:?}");
        }
        for (revision, batch) in (before + 1..).zip(&applied.events) {
            assert_eq!(batch.revision, revision);
            assert!(batch.events.iter().all(|event| event.revision.main == revision));
        }
        assert_eq!(before + applied.events.len() as i64, applied.revision);
        assert_eq!(self.twin.apply(position(index), &command), applied);
        self.log.push((command, applied));
    }

    fn range(&self, request: &RangeRequest) {
        let expected = self.model.range(request);
        assert_eq!(self.reader.range(None, request), expected, "{request:?}");
        assert_eq!(self.planned(request), expected, "{request:?}");
    }

    /// The same answer in pieces, which must be as long as it said.
    fn planned(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        let mut plan = self.reader.range_plan(None, request)?;
        let mut response =
            RangeResponse { more: plan.more(), count: plan.count(), ..Default::default() };
        let len = plan.encoded_len();
        while let Some(chunk) = plan.next_chunk(20)? {
            response.kvs.extend(chunk);
        }
        assert_eq!(prost::Message::encoded_len(&response), len);
        response.header = Some(api::etcdserverpb::ResponseHeader {
            revision: plan.revision(),
            ..Default::default()
        });
        Ok(response)
    }

    fn read_txn(&mut self, request: &TxnRequest) {
        let expected = self.model.txn(request);
        assert_eq!(self.reader.txn(None, request), expected, "{request:?}");
    }

    fn history(&self, from: i64, to: i64, bytes_max: usize) {
        let expected = self.model.history(from).map(|mut events| {
            events.retain(|event| event.revision.main <= to);
            events
        });
        let (mut next, mut events) = (from, Vec::new());
        while next <= self.model.revision.min(to) {
            match self.reader.history(next, to, &|_| true, bytes_max) {
                Ok(chunk) => {
                    assert!(chunk.next > next, "{from} {bytes_max}");
                    let main = |event: &Event| event.revision.main;
                    assert!(chunk.events.iter().all(|event| main(event) < chunk.next));
                    events.extend(chunk.events);
                    next = chunk.next;
                }
                Err(error) => {
                    assert_eq!(Err(error), expected);
                    return;
                }
            }
        }
        for event in &events {
            let Some(entry) = &event.prev else { continue };
            let prev = self.reader.key_value(&event.kv.key, entry).unwrap();
            assert_eq!(prev.as_ref(), self.model.prev_kv(event), "{event:?}");
        }
        if from <= self.model.revision.min(to) {
            assert_eq!(Ok(events), expected);
        }
    }

    /// Goes on with `store` after applying what it has missed.
    fn use_store(&mut self, store: Store) {
        self.held = None;
        self.store = store;
        self.reader = self.store.reader();
        self.flusher = self.store.flusher();
        self.compactor = self.store.compactor();
        let mark = self.reader.position();
        assert_eq!(mark.index, self.flusher.flushed_index());
        for index in mark.index + 1..=self.log.len() as u64 {
            let (command, before) = &self.log[index as usize - 1];
            let again = self.store.apply(position(index), command);
            assert_eq!(again, *before, "{command:?}");
        }
        self.compare_all();
    }

    fn snapshot_restore(&mut self) {
        let bytes = bytes_of(&self.store.snapshot());
        let mark = self.reader.position();
        let store =
            Store::restore(Arc::clone(&self.engine), Options::default(), &mut &*bytes).unwrap();
        assert_eq!(store.reader().position(), mark);
        assert_eq!(bytes_of(&store.snapshot()), bytes);
        self.use_store(store);
    }

    fn hold_snapshot(&mut self) {
        if let Some((snapshot, bytes)) = self.held.take() {
            assert_eq!(bytes_of(&snapshot), bytes);
        }
        self.held = Some((self.store.snapshot(), bytes_of(&self.store.snapshot())));
    }

    /// Everything that can be asked without a request.
    pub(super) fn compare_all(&mut self) {
        let (reader, twin) = (&self.reader, self.twin.reader());
        assert_eq!(reader.revision(), self.model.revision);
        assert_eq!(reader.compact_revision(), self.model.compacted);
        assert_eq!(reader.size().keys, self.model.live_keys() as u64);
        for revision in 0..=self.model.revision + 1 {
            assert_eq!(reader.hash_kv(revision), twin.hash_kv(revision));
            let everything = RangeRequest {
                key: Bytes::from_static(b"\0"),
                range_end: Bytes::from_static(b"\0"),
                revision,
                ..Default::default()
            };
            self.range(&everything);
            self.range(&RangeRequest { limit: 1, ..everything.clone() });
            self.range(&RangeRequest { count_only: true, ..everything });
            self.history(revision, i64::MAX, 100);
        }
        assert_eq!(reader.hash(), twin.hash());
        self.compare_leases();
        self.compare_space();
    }

    fn compare_leases(&self) {
        let leases = self.reader.leases();
        assert_eq!(leases.len(), self.model.leases.len());
        for (found, (id, expected)) in leases.iter().zip(&self.model.leases) {
            assert_eq!((found.id, found.ttl_s), (*id, expected.ttl));
            assert_eq!(found.grant_index, expected.grant_index);
            assert_eq!(found.remaining_s, expected.remaining);
            let keys = self.reader.lease_keys(*id).unwrap();
            assert_eq!(found.keys, keys.len());
            assert_eq!(keys, self.model.lease_keys(*id));
        }
    }

    /// When all is flushed and compacted, what is left is what must be.
    fn compare_space(&mut self) {
        self.held = None;
        while self.flusher.flush_once().unwrap() {}
        assert_eq!(self.flusher.pending_bytes(), 0);
        while self.compactor.step(3).unwrap() {}
        let size = self.reader.size();
        assert_eq!(size.live_bytes, self.model.live_bytes());
        let mut values = 0;
        let count = &mut |_: &[u8], _: &[u8]| {
            values += 1;
            std::ops::ControlFlow::Continue(())
        };
        self.engine.scan(b"m", b"n", count).unwrap();
        assert_eq!(values, self.model.retained_versions());
    }
}

fn open(engine: &Arc<dyn Engine>) -> Store {
    // A cache so small that values are also read from the engine.
    let options = Options { value_cache_bytes: 3000, ..Options::default() };
    Store::open(Arc::clone(engine), options).unwrap()
}

fn position(index: u64) -> Position {
    Position { index, term: 1, log_id: Bytes::copy_from_slice(&index.to_be_bytes()) }
}

fn bytes_of(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot.write_to(&mut bytes).unwrap();
    bytes
}
