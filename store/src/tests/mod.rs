//! The store as its callers see it.

mod at_hand;
mod concurrent;
mod mark;
mod replaced;
mod tokens;
mod transcript;

use std::sync::Arc;

use api::berthpb::Command;
use api::berthpb::command::Op;
use api::etcdserverpb as pb;
use api::etcdserverpb::request_op::Request;
use bytes::Bytes;

use crate::engine::{Engine, MemEngine};
use crate::{Applied, Error, EventKind, Options, Position, Response, Store};

struct Fixture {
    store: Store,
    index: u64,
}

impl Fixture {
    fn new() -> Self {
        let engine = Arc::new(MemEngine::new());
        Fixture { store: Store::open(engine, Options::default()).unwrap(), index: 0 }
    }

    fn apply(&mut self, op: Op) -> Applied {
        self.index += 1;
        let position = Position { index: self.index, term: 1, log_id: Bytes::new() };
        self.store.apply(position, &Command { principal: None, origin: None, op: Some(op) })
    }

    fn put(&mut self, key: &str, value: &str, lease: i64) -> Applied {
        self.apply(Op::Put(put(key, value, lease)))
    }
}

fn put(key: &str, value: &str, lease: i64) -> pb::PutRequest {
    pb::PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        lease,
        ..pb::PutRequest::default()
    }
}

fn op(request: Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

#[test]
fn a_put_is_read_back_and_told_to_watchers() {
    // The first write makes revision 2; its event carries what a reader reads.
    let mut store = Fixture::new();
    let applied = store.put("k", "v", 0);
    assert_eq!(applied.revision, 2);
    let request = pb::RangeRequest { key: "k".into(), ..pb::RangeRequest::default() };
    let range = store.store.reader().range(None, &request).unwrap();
    assert_eq!((range.count, range.kvs[0].value.as_ref()), (1, &b"v"[..]));
    assert_eq!(applied.events[0].events[0].kind, EventKind::Put);
    assert_eq!(applied.events[0].events[0].kv, range.kvs[0]);
}

#[test]
fn an_unknown_lease_inside_a_transaction_changes_nothing() {
    // The put before it leaves no trace, no revision and no event.
    let mut store = Fixture::new();
    let success =
        vec![op(Request::RequestPut(put("a", "1", 0))), op(Request::RequestPut(put("b", "2", 7)))];
    let applied = store.apply(Op::Txn(pb::TxnRequest { success, ..pb::TxnRequest::default() }));
    assert_eq!(applied.result, Err(Error::LeaseNotFound));
    assert_eq!((applied.revision, applied.events.len()), (1, 0));
    assert_eq!(store.store.reader().size().keys, 0);
    assert_eq!(store.store.reader().position().index, 1);
}

#[test]
fn a_lease_takes_its_keys_along_in_one_revision() {
    // Both keys go at one revision, in the order of keys, and the lease is gone.
    let mut store = Fixture::new();
    store.apply(Op::LeaseGrant(pb::LeaseGrantRequest { id: 7, ttl: 60 }));
    store.put("b", "2", 7);
    store.put("a", "1", 7);
    store.put("c", "3", 7);
    store.put("c", "3", 0);
    let applied = store.apply(Op::LeaseRevoke(pb::LeaseRevokeRequest { id: 7 }));
    assert!(matches!(applied.result, Ok(Response::LeaseRevoke(_))));
    let keys: Vec<_> = applied.events[0].events.iter().map(|event| event.kv.key.clone()).collect();
    assert_eq!(keys, ["a", "b"]);
    assert_eq!((applied.revision, store.store.reader().lease(7)), (6, None));
}

#[test]
fn what_was_asked_for_is_counted() {
    // Shows etcd's way of counting: operations by kind, requests of several as transactions, and
    // nothing for what was refused.
    let mut store = Fixture::new();
    store.apply(Op::LeaseGrant(pb::LeaseGrantRequest { id: 7, ttl: 60 }));
    store.put("a", "1", 7);
    store.put("b", "2", 7);
    store.put("refused", "3", 8);
    let read =
        || op(Request::RequestRange(pb::RangeRequest { key: "a".into(), ..Default::default() }));
    let success = vec![read(), op(Request::RequestPut(put("c", "1", 0)))];
    store.apply(Op::Txn(pb::TxnRequest { success, ..pb::TxnRequest::default() }));
    let success = vec![read(), read()];
    let reads = pb::TxnRequest { success, ..pb::TxnRequest::default() };
    store.store.reader().txn(None, &reads).unwrap();
    store.apply(Op::LeaseRevoke(pb::LeaseRevokeRequest { id: 7 }));
    let work = store.store.reader().work();
    assert_eq!((work.ranges, work.puts, work.deletes, work.txns), (3, 3, 2, 3));
    assert_eq!((work.put_bytes, work.leases_granted, work.leases_revoked), (6, 1, 1));
}
