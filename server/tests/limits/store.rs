//! Short forms of the calls that all these tests make.

use api::etcdserverpb::*;
use api::mvccpb::KeyValue;
use testkit::{Clients, Server, bounded};
use tonic::{Code, Status};

/// Code and text of a refusal; code `Ok` when the call was answered.
pub(crate) type Outcome = (Code, String);

pub(crate) fn outcome<T>(answer: Result<T, Status>) -> Outcome {
    match answer {
        Ok(_) => (Code::Ok, String::new()),
        Err(refusal) => (refusal.code(), refusal.message().to_owned()),
    }
}

pub(crate) fn put_request(key: &str, value: impl Into<bytes::Bytes>) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.into(), ..Default::default() }
}

pub(crate) async fn put(clients: &mut Clients, key: &str, value: &str) -> Outcome {
    outcome(bounded(clients.kv.put(put_request(key, value.to_owned()))).await)
}

/// Everything the server holds, and its revision.
pub(crate) async fn contents(server: &Server) -> (i64, Vec<KeyValue>) {
    let everything =
        RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..Default::default() };
    let answer = bounded(server.clients().kv.range(everything)).await;
    let answer = answer.expect("the server serves").into_inner();
    (answer.header.map_or(0, |header| header.revision), answer.kvs)
}

/// Fails unless the server takes a write and gives it back.
pub(crate) async fn assert_serves(server: &mut Server) {
    assert!(server.is_running(), "the server is gone:\n{}", server.log_tail());
    let mut clients = server.clients();
    assert_eq!(put(&mut clients, "alive", "yes").await, (Code::Ok, String::new()));
    let request = RangeRequest { key: "alive".into(), ..Default::default() };
    let answer = bounded(clients.kv.range(request)).await.expect("the server serves");
    assert_eq!(answer.into_inner().count, 1, "an acknowledged write is not there");
}
