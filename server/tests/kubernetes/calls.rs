//! The calls as kube-apiserver shapes them.

use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::request_op::Request as Op;
use api::etcdserverpb::response_op::Response as Answer;
use api::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest,
    TxnResponse,
};
use api::mvccpb::KeyValue;
use testkit::{Clients, bounded};

pub(crate) const PODS: &str = "/registry/pods/";
/// The first key behind all pods.
pub(crate) const PODS_END: &str = "/registry/pods0";

pub(crate) fn pod(name: &str) -> String {
    format!("{PODS}default/{name}")
}

/// `ModRevision(key) == revision`; 0: there is no such key.
pub(crate) fn unchanged(key: &str, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Mod as i32,
        key: key.to_owned().into(),
        target_union: Some(TargetUnion::ModRevision(revision)),
        ..Default::default()
    }
}

/// `Version(key) == version`.
pub(crate) fn at_version(key: &str, version: i64) -> Compare {
    Compare {
        target: CompareTarget::Version as i32,
        target_union: Some(TargetUnion::Version(version)),
        ..unchanged(key, 0)
    }
}

pub(crate) fn put(key: &str, value: &str, lease: i64) -> RequestOp {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    RequestOp {
        request: Some(Op::RequestPut(PutRequest { key, value, lease, ..Default::default() })),
    }
}

pub(crate) fn read(key: &str) -> RequestOp {
    let range = RangeRequest { key: key.to_owned().into(), ..Default::default() };
    RequestOp { request: Some(Op::RequestRange(range)) }
}

pub(crate) fn remove(key: &str) -> RequestOp {
    let delete = DeleteRangeRequest { key: key.to_owned().into(), ..Default::default() };
    RequestOp { request: Some(Op::RequestDeleteRange(delete)) }
}

/// A transaction with one compare: whether it held, the revision of the store then, and what the
/// other branch read.
pub(crate) async fn txn(
    clients: &Clients,
    compare: Compare,
    success: RequestOp,
    failure: Option<RequestOp>,
) -> (bool, i64, Option<KeyValue>) {
    let request = TxnRequest {
        compare: vec![compare],
        success: vec![success],
        failure: failure.into_iter().collect(),
    };
    let done: TxnResponse = bounded(clients.kv.clone().txn(request)).await.unwrap().into_inner();
    let revision = done.header.unwrap().revision;
    let found = done.responses.into_iter().find_map(|answer| match answer.response? {
        Answer::ResponseRange(range) => range.kvs.into_iter().next(),
        _ => None,
    });
    (done.succeeded, revision, found)
}

/// Makes an object, unless it is there; the revision, or 0.
pub(crate) async fn create(clients: &Clients, key: &str, value: &str, lease: i64) -> i64 {
    let (made, revision, found) =
        txn(clients, unchanged(key, 0), put(key, value, lease), None).await;
    assert_eq!(found, None);
    if made { revision } else { 0 }
}

/// kube-apiserver's guaranteed update: tries with what it believes the object to be, and again with
/// what it is told that it is. How many tries it took, and the revision.
pub(crate) async fn update(
    clients: &Clients,
    key: &str,
    mut believed: i64,
    change: impl Fn(&str) -> String,
    mut value: String,
) -> (usize, i64) {
    for tries in 1..=10 {
        let next = change(&value);
        let done =
            txn(clients, unchanged(key, believed), put(key, &next, 0), Some(read(key))).await;
        let (held, revision, found) = done;
        if held {
            return (tries, revision);
        }
        let found = found.expect("it is there");
        believed = found.mod_revision;
        value = String::from_utf8(found.value.to_vec()).unwrap();
    }
    panic!("nobody else writes that often");
}

pub(crate) async fn range(clients: &Clients, request: RangeRequest) -> RangeResponse {
    bounded(clients.kv.clone().range(request)).await.unwrap().into_inner()
}

pub(crate) fn pods() -> RangeRequest {
    RangeRequest { key: PODS.into(), range_end: PODS_END.into(), ..Default::default() }
}

/// The revision of the store now.
pub(crate) async fn revision(clients: &Clients) -> i64 {
    let any = RangeRequest { key: "k".into(), ..Default::default() };
    range(clients, any).await.header.unwrap().revision
}
