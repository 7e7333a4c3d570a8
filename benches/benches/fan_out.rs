//! The watch hub alone: one event from apply to all who watch its key.
#![allow(clippy::unwrap_used, reason = "a benchmark ends where it is surprised")]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::berthpb::Command;
use api::berthpb::command::Op;
use api::etcdserverpb::{PutRequest, WatchCreateRequest};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::task::noop_waker_ref;
use store::engine::MemEngine;
use store::{Position, Store};
use watch::{Hub, Options, Publisher, WatchStream};

/// Watchers of one key.
const WATCHERS: [u64; 3] = [1, 100, 10_000];
const WATCHERS_PER_STREAM: u64 = 100;
const VALUE_BYTES: usize = 256;

struct Subject {
    store: Store,
    index: u64,
    publisher: Publisher,
    task: Pin<Box<dyn Future<Output = ()>>>,
    streams: Vec<WatchStream>,
}

impl Subject {
    fn watched_by(watchers: u64) -> Subject {
        let store = Store::open(Arc::new(MemEngine::new()), store::Options::default()).unwrap();
        let (hub, publisher) = Hub::new(store.reader(), Options::default());
        let task = Box::pin(hub.clone().run());
        let mut streams = Vec::new();
        for number in 0..watchers {
            if number % WATCHERS_PER_STREAM == 0 {
                streams.push(hub.open());
            }
            let request = WatchCreateRequest { key: "watched".into(), ..Default::default() };
            streams.last_mut().unwrap().create(&request).unwrap();
        }
        let mut subject = Subject { store, index: 0, publisher, task, streams };
        subject.take(watchers);
        subject
    }

    fn put(&mut self) {
        self.index += 1;
        let position = Position { index: self.index, ..Default::default() };
        let value = vec![7; VALUE_BYTES].into();
        let put = PutRequest { key: "watched".into(), value, ..Default::default() };
        let command = Command { op: Some(Op::Put(put)), ..Command::default() };
        let applied = self.store.apply(position, &command);
        self.publisher.publish(&applied.events);
    }

    /// Takes what all streams have until it is `count` answers.
    fn take(&mut self, count: u64) {
        let mut context = Context::from_waker(noop_waker_ref());
        let mut taken = 0;
        while taken < count {
            assert!(self.task.as_mut().poll(&mut context).is_pending(), "the hub ended");
            for stream in &mut self.streams {
                while let Poll::Ready(answer) = stream.poll_next(&mut context) {
                    answer.expect("the stream goes on");
                    taken += 1;
                }
            }
        }
    }
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan out");
    for watchers in WATCHERS {
        group.throughput(Throughput::Elements(watchers));
        group.bench_function(BenchmarkId::from_parameter(watchers), |bencher| {
            let mut subject = Subject::watched_by(watchers);
            bencher.iter(|| {
                subject.put();
                subject.take(watchers);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
