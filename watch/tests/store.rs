//! The hub over the real store: live events and history must tell one story.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::berthpb::command::Op;
use api::berthpb::{Command, EncodedWatchResponse};
use api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest, WatchCreateRequest,
    request_op,
};
use api::mvccpb::Event;
use bytes::Bytes;
use futures::task::noop_waker_ref;
use proptest::prelude::*;
use prost::Message;
use store::engine::MemEngine;
use store::{Position, Store};
use watch::{Hub, Options, Publisher, WatchStream};

struct Bench {
    store: Store,
    index: u64,
    hub: Hub,
    publisher: Publisher,
    task: Pin<Box<dyn Future<Output = ()>>>,
}

impl Bench {
    fn new(options: Options) -> Bench {
        let store = Store::open(Arc::new(MemEngine::new()), store::Options::default()).unwrap();
        let (hub, publisher) = Hub::new(store.reader(), options);
        let task = Box::pin(hub.clone().run());
        Bench { store, index: 0, hub, publisher, task }
    }

    fn apply(&mut self, op: Op) {
        self.index += 1;
        let position = Position { index: self.index, ..Default::default() };
        let applied = self.store.apply(position, &Command { op: Some(op), ..Command::default() });
        self.publisher.publish(&applied.events);
    }

    fn put(&mut self, key: &str, value: &str) {
        self.apply(Op::Put(put(key, value)));
    }

    fn delete(&mut self, key: &str) {
        self.apply(Op::DeleteRange(delete(key, "")));
    }

    fn compact(&mut self, revision: i64, physically: bool) {
        self.apply(Op::Compact(CompactionRequest { revision, physical: false }));
        if physically {
            while self.store.flusher().flush_once().unwrap() {}
            while self.store.compactor().step(3).unwrap() {}
        }
    }

    fn watch(&self, start_revision: i64) -> WatchStream {
        let mut stream = self.hub.open();
        let request = WatchCreateRequest {
            key: "a".into(),
            range_end: "\0".into(),
            prev_kv: true,
            start_revision,
            ..Default::default()
        };
        stream.create(&request).unwrap();
        stream
    }

    fn take_all(&mut self, stream: &mut WatchStream) -> Vec<EncodedWatchResponse> {
        let mut context = Context::from_waker(noop_waker_ref());
        let mut taken = Vec::new();
        loop {
            for _ in 0..100 {
                assert!(self.task.as_mut().poll(&mut context).is_pending());
            }
            let before = taken.len();
            while let Poll::Ready(response) = stream.poll_next(&mut context) {
                taken.push(response.expect("the stream ended"));
            }
            if taken.len() == before {
                return taken;
            }
        }
    }
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() }
}

fn delete(key: &str, range_end: &str) -> DeleteRangeRequest {
    let range_end = range_end.to_owned().into();
    DeleteRangeRequest { key: key.to_owned().into(), range_end, prev_kv: false }
}

fn bytes_of(responses: &[EncodedWatchResponse]) -> Vec<Bytes> {
    responses.iter().flat_map(|response| response.events.clone()).collect()
}

fn event(bytes: &Bytes) -> Event {
    Event::decode(bytes.clone()).unwrap()
}

/// Bounds so small that history is read in many slices and never from memory.
fn without_memory() -> Options {
    Options { ring_bytes: 0, slice_bytes: 300, slice_revisions: 4, ..Options::default() }
}

/// Proves that a delete at the very revision of a compaction is told to who starts there, from
/// memory and from the engine (etcd 18089, 19179), and that who starts below is told of it.
#[test]
fn delete_at_the_compaction_revision() {
    for options in [Options::default(), without_memory()] {
        for physically in [false, true] {
            let mut bench = Bench::new(options);
            bench.put("a", "1");
            bench.delete("a");
            bench.compact(3, physically);
            let mut stream = bench.watch(3);
            let taken = bench.take_all(&mut stream);
            let events = bytes_of(&taken);
            assert_eq!(events.len(), 1, "physically: {physically}");
            let kv = event(&events[0]).kv.unwrap();
            assert_eq!((kv.key.as_ref(), kv.mod_revision, kv.create_revision), (&b"a"[..], 3, 0));
            let mut late = bench.watch(2);
            let taken = bench.take_all(&mut late);
            assert!(taken[0].created && taken[1].canceled && taken[1].compact_revision == 3);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, usize),
    Delete(usize),
    DeleteAll,
    Txn(Vec<(usize, usize)>, usize),
    Flush,
}

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn step() -> impl Strategy<Value = Step> {
    let puts = prop::collection::vec((0usize..3, 0usize..100), 1..4);
    prop_oneof![
        8 => (0..KEYS.len(), 0usize..200).prop_map(|(key, length)| Step::Put(key, length)),
        3 => (0..KEYS.len()).prop_map(Step::Delete),
        1 => Just(Step::DeleteAll),
        3 => (puts, 3..KEYS.len()).prop_map(|(puts, deleted)| Step::Txn(puts, deleted)),
        1 => Just(Step::Flush),
    ]
}

impl Step {
    fn op(&self) -> Option<Op> {
        Some(match self {
            Step::Put(key, length) => Op::Put(put(KEYS[*key], &"v".repeat(*length))),
            Step::Delete(key) => Op::DeleteRange(delete(KEYS[*key], "")),
            Step::DeleteAll => Op::DeleteRange(delete("a", "\0")),
            Step::Txn(puts, deleted) => {
                let mut requests =
                    vec![request_op::Request::RequestDeleteRange(delete(KEYS[*deleted], ""))];
                let mut keys: Vec<_> = puts.iter().map(|(key, _)| *key).collect();
                keys.sort_unstable();
                keys.dedup();
                for key in keys {
                    let length = puts.iter().find(|(put, _)| *put == key).map_or(0, |put| put.1);
                    let put = put(KEYS[key], &"w".repeat(length));
                    requests.push(request_op::Request::RequestPut(put));
                }
                let success = requests.into_iter();
                let success = success.map(|request| RequestOp { request: Some(request) }).collect();
                Op::Txn(TxnRequest { success, ..Default::default() })
            }
            Step::Flush => return None,
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Proves that who watched live and who reads it all later, from memory or from the store,
    /// before a compaction or from its revision on, get the same bytes, previous values included.
    #[test]
    fn history_tells_what_was_live(
        steps in prop::collection::vec(step(), 1..60),
        compacted_percent in 0i64..100,
        physically in any::<bool>(),
    ) {
        for options in [Options::default(), without_memory()] {
            let mut bench = Bench::new(options);
            let mut live = bench.watch(0);
            let mut told = bench.take_all(&mut live);
            for step in &steps {
                match step.op() {
                    Some(op) => bench.apply(op),
                    None => while bench.store.flusher().flush_once().unwrap() {},
                }
                told.extend(bench.take_all(&mut live));
            }
            let told = bytes_of(&told);
            let mut late = bench.watch(1);
            let late = bench.take_all(&mut late);
            prop_assert_eq!(&bytes_of(&late), &told);

            let revision = bench.store.reader().revision();
            let compacted = revision * compacted_percent / 100;
            if compacted < 2 {
                continue;
            }
            bench.compact(compacted, physically);
            let mut after = bench.watch(compacted);
            let after = bench.take_all(&mut after);
            let after: Vec<_> = bytes_of(&after).iter().map(event).collect();
            let want = told.iter().map(event).filter(|event| {
                event.kv.as_ref().is_some_and(|kv| kv.mod_revision >= compacted)
            });
            // Of what came before the compacted revision nothing is known any more.
            let want: Vec<_> = want
                .map(|mut event| {
                    if event.kv.as_ref().is_some_and(|kv| kv.mod_revision == compacted) {
                        event.prev_kv = None;
                    }
                    event
                })
                .collect();
            if options.ring_bytes == 0 {
                prop_assert_eq!(after, want);
            } else {
                // Bytes that were made before the compaction may still carry it.
                let bare = |events: Vec<Event>| -> Vec<_> {
                    events.into_iter().map(|event| (event.r#type, event.kv)).collect()
                };
                prop_assert_eq!(bare(after), bare(want));
            }
        }
    }
}
