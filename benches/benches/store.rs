//! The state machine alone, in memory: one write applied, one key read, a page of a list.
#![allow(clippy::unwrap_used, reason = "a benchmark ends where it is surprised")]

use std::hint::black_box;
use std::sync::Arc;

use api::berthpb::Command;
use api::berthpb::command::Op;
use api::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest, request_op};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use store::engine::MemEngine;
use store::{Options, Position, Store};

/// Keys in the store that is read.
const KEYS: u64 = 100_000;
const VALUE_BYTES: usize = 256;
/// Keys of one page, as kube-apiserver lists.
const PAGE_KEYS: i64 = 500;
/// Writes between two flushes, so that what is measured does not wait for room.
const WRITES_PER_FLUSH: u64 = 1_000;

fn key(number: u64) -> Bytes {
    format!("/registry/pods/default/{number:012}").into()
}

fn put(number: u64) -> Op {
    Op::Put(PutRequest {
        key: key(number),
        value: vec![7; VALUE_BYTES].into(),
        ..Default::default()
    })
}

/// A store and where its log ends.
struct Subject {
    store: Store,
    index: u64,
}

impl Subject {
    fn new() -> Subject {
        let engine = Arc::new(MemEngine::new());
        Subject { store: Store::open(engine, Options::default()).unwrap(), index: 0 }
    }

    fn with_keys() -> Subject {
        let mut subject = Subject::new();
        for number in 0..KEYS {
            subject.apply(put(number));
        }
        while subject.store.flusher().flush_once().unwrap() {}
        subject
    }

    fn apply(&mut self, op: Op) {
        self.index += 1;
        let position = Position { index: self.index, ..Default::default() };
        let command = Command { op: Some(op), ..Command::default() };
        black_box(self.store.apply(position, &command).result.unwrap());
        if self.index.is_multiple_of(WRITES_PER_FLUSH) {
            while self.store.flusher().flush_once().unwrap() {}
        }
    }
}

fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply");
    group.throughput(Throughput::Elements(1));
    let mut subject = Subject::new();
    let mut number = 0;
    group.bench_function("put", |bencher| {
        bencher.iter(|| {
            number = (number + 7919) % KEYS;
            subject.apply(put(number));
        });
    });
    group.bench_function("txn", |bencher| {
        bencher.iter(|| {
            number = (number + 7919) % KEYS;
            let Op::Put(put) = put(number) else { unreachable!("it is a put") };
            let success = vec![RequestOp { request: Some(request_op::Request::RequestPut(put)) }];
            subject.apply(Op::Txn(TxnRequest { success, ..Default::default() }));
        });
    });
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let subject = Subject::with_keys();
    let reader = subject.store.reader();
    let mut group = criterion.benchmark_group("read");
    let mut number = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("one key", |bencher| {
        bencher.iter(|| {
            number = (number + 7919) % KEYS;
            let request = RangeRequest { key: key(number), ..Default::default() };
            black_box(reader.range(None, &request).unwrap())
        });
    });
    group.throughput(Throughput::Elements(PAGE_KEYS.unsigned_abs()));
    group.bench_function("page of 500", |bencher| {
        bencher.iter(|| {
            number = (number + 7919) % (KEYS / 2);
            let range_end = Bytes::from_static(b"/registry/pods0");
            let key = key(number);
            let request = RangeRequest { key, range_end, limit: PAGE_KEYS, ..Default::default() };
            black_box(reader.range(None, &request).unwrap())
        });
    });
    group.finish();
}

criterion_group!(benches, apply, read);
criterion_main!(benches);
