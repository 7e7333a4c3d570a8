//! A store, the model, and what happens to both.

use std::sync::Arc;

use api::berthpb::command::Op;
use api::berthpb::{Command, V2Expire, V2Write};
use api::etcdserverpb::PutRequest;

use super::super::{HISTORY_EVENTS_MAX, Interest, Path};
use super::model::Model;
use crate::engine::{Engine, MemEngine};
use crate::{Applied, Options, Position, Reader, Response, Store};

/// A second of the year 2001.
pub(super) fn now_ns(second: i64) -> i64 {
    (1_000_000_000 + second) * 1_000_000_000
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(V2Write),
    Expire(i64, u32),
    /// Of a key of the v3 API.
    Put,
    Flush,
    Crash,
    SnapshotRestore,
}

pub(super) struct Driver {
    engine: Arc<dyn Engine>,
    store: Store,
    model: Model,
    puts: i64,
    log: Vec<(Command, Applied)>,
}

fn position(index: usize) -> Position {
    Position { index: index as u64, term: 1, log_id: index.to_string().into() }
}

impl Driver {
    pub(super) fn new() -> Driver {
        Driver::on(Arc::new(MemEngine::default()))
    }

    pub(super) fn on(engine: Arc<dyn Engine>) -> Driver {
        let store = Store::open(engine.clone(), Options::default()).unwrap();
        Driver { engine, store, model: Model::default(), puts: 0, log: Vec::new() }
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Write(write) => self.write(write),
            Step::Expire(second, count_max) => self.expire(now_ns(*second), *count_max),
            Step::Put => self.put(),
            Step::Flush => drop(self.store.flusher().flush_once().unwrap()),
            Step::Crash => {
                let again = Store::open(self.engine.clone(), Options::default()).unwrap();
                self.go_on_with(again);
            }
            Step::SnapshotRestore => self.snapshot_restore(),
        }
    }

    fn apply(&mut self, op: Op) -> Response {
        let command = super::command(op);
        let applied = self.store.apply(position(self.log.len() + 1), &command);
        self.log.push((command, applied.clone()));
        applied.result.unwrap()
    }

    fn write(&mut self, write: &V2Write) {
        let expected = self.model.apply(write);
        let Response::V2Write(outcome) = self.apply(Op::V2Write(write.clone())) else {
            panic!("another answer")
        };
        let index = self.model.index;
        match (outcome, expected) {
            (Ok(event), Ok(expected)) => assert_eq!(*event, expected),
            (Err(refusal), Err((reason, cause))) => {
                assert_eq!((refusal.reason, &*refusal.cause), (reason, cause.as_bytes()));
                assert_eq!(refusal.index, index);
            }
            (outcome, expected) => panic!("{write:?}: {outcome:?}, expected {expected:?}"),
        }
        self.nothing_of_it_in_v3();
    }

    fn expire(&mut self, now_ns: i64, count_max: u32) {
        let expire = V2Expire { now_ns, count_max };
        let expected = self.model.expire(&expire);
        let Response::V2Expire(events) = self.apply(Op::V2Expire(expire)) else {
            panic!("another answer")
        };
        let events: Vec<_> = events.iter().map(|event| (**event).clone()).collect();
        assert_eq!(events, expected);
        self.nothing_of_it_in_v3();
    }

    fn put(&mut self) {
        self.puts += 1;
        let value = self.puts.to_string().into();
        self.apply(Op::Put(PutRequest { key: "k".into(), value, ..Default::default() }));
    }

    fn nothing_of_it_in_v3(&self) {
        let (_, applied) = self.log.last().unwrap();
        assert!(applied.events.is_empty());
        assert_eq!(applied.revision, 1 + self.puts);
    }

    fn snapshot_restore(&mut self) {
        let bytes = bytes_of(&self.store);
        let options = Options::default();
        let store = Store::restore(self.engine.clone(), options, &mut &*bytes).unwrap();
        assert_eq!(bytes_of(&store), bytes);
        self.go_on_with(store);
    }

    /// Applies what `store` has missed.
    fn go_on_with(&mut self, store: Store) {
        let hash = self.store.reader().hash_kv(0).unwrap();
        let live_bytes = self.store.reader().live_bytes();
        self.store = store;
        let missed = self.store.reader().position().index;
        for (index, (command, before)) in (1..).zip(&self.log) {
            if index as u64 > missed {
                assert_eq!(self.store.apply(position(index), command), *before);
            }
        }
        assert_eq!(self.store.reader().hash_kv(0).unwrap(), hash);
        assert_eq!(self.store.reader().live_bytes(), live_bytes);
        self.compare();
    }

    pub(super) fn compare(&self) {
        let reader = self.store.reader();
        let view = reader.v2();
        assert_eq!(view.index(), self.model.index);
        for path in self.model.entries.keys().map(String::as_str).chain(["/"]) {
            let seen = view.get(&Path::clean(path.as_bytes()), true).unwrap();
            assert_eq!(seen.nodes, self.model.listing(path), "{path}");
            let direct = view.get(&Path::clean(path.as_bytes()), false).unwrap();
            assert_eq!(direct.nodes.len(), seen.nodes.len());
            assert!(direct.nodes.iter().all(|node| node.nodes.is_empty()));
        }
        let deadlines = self.model.entries.keys().filter_map(|it| self.model.seen(it).deadline_ns);
        assert_eq!(reader.v2_next_deadline_ns(), deadlines.min());
        self.compare_history(&reader);
    }

    fn compare_history(&self, reader: &Reader) {
        assert!(self.model.events.len() <= HISTORY_EVENTS_MAX);
        for path in ["/", "/a", "/a/b", "/_h", "/a-b/x"] {
            for recursive in [false, true] {
                let expected = self.model.events.iter().filter(|event| {
                    let (changed, below) = (&*event.node.path, [path.trim_end_matches('/'), "/"]);
                    let gone = event.node.dir
                        && event.prev.is_some()
                        && event.node.value.is_none()
                        && event.removed_dir();
                    let own = changed == path.as_bytes();
                    let under = changed.starts_with(below.concat().as_bytes());
                    let gone = gone && path.as_bytes().starts_with(&[changed, b"/"].concat());
                    !event.refresh && (own || (recursive && under) || gone)
                });
                let expected: Vec<_> = expected.cloned().collect();
                assert_eq!(self.past(reader, path, recursive), expected, "{path}");
            }
        }
    }

    /// All that the history has for somebody who begins now, from the beginning.
    fn past(&self, reader: &Reader, path: &str, recursive: bool) -> Vec<super::super::Event> {
        let path = Path::clean(path.as_bytes());
        let interest = Interest { path, recursive, said_at: self.model.index };
        let (mut next, mut found) = (1, Vec::new());
        loop {
            let past = reader.v2_past(&interest, next).unwrap();
            assert!(past.next >= next);
            next = past.next;
            match past.event {
                Some(event) => found.push((*event).clone()),
                None => return found,
            }
        }
    }
}

fn bytes_of(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.snapshot().write_to(&mut bytes).unwrap();
    bytes
}
