//! What a member without a majority answers.

use std::time::Duration;

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    PutRequest, RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse,
};
use testkit::{Cluster, bounded, eventually, subject};
use tonic::{Code, Request, Status, Streaming};

use crate::flaws;
use crate::network::network;
use crate::workload::Load;

/// Noticing that a majority is gone takes a few elections.
const NO_LEADER_S_MAX: u64 = 60;
const NO_LEADER: &str = "etcdserver: no leader";
/// Written before the partition.
const KEY: &str = "before";

/// Proves that a leader who is cut off refuses what needs a majority, with etcd's codes, serves
/// what does not, ends the watches that asked for it, and takes part again afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_refuses_what_needs_a_majority() {
    let Some(net) = network("a_minority_refuses_what_needs_a_majority", 3) else { return };
    let mut cluster = Cluster::start_with(subject!(), net.places(), &[]).await;
    let leader = cluster.leader().await;
    let load = Load::start(&cluster);
    load.book.ledger.attempt(KEY.as_bytes());
    bounded(cluster.clients(0).kv.put(put(KEY))).await.expect("a healthy cluster takes writes");
    let mut strict = watch(&cluster, leader, true).await;
    let mut patient = watch(&cluster, leader, false).await;
    net.isolate(&[leader]);
    cluster.leader_among(&cluster.others(leader)).await;
    load.progress(50).await;
    knows_no_leader(&cluster, leader).await;

    let end = bounded(end_of(&mut strict)).await;
    assert_eq!((end.code(), end.message()), (Code::Unavailable, NO_LEADER));
    refuses_by_metadata(&cluster, leader).await;
    let mut kv = cluster.clients(leader).kv;
    let mut other = kv.clone();
    let (write, read) = tokio::join!(bounded(kv.put(put("lost"))), bounded(other.range(get(KEY))));
    for refusal in [write.map(drop), read.map(drop)] {
        let refusal = refusal.expect_err("a minority cannot know");
        if flaws::excuse(refusal.message()) {
            continue;
        }
        assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
        assert!(refusal.message().starts_with("etcdserver: "), "{refusal}");
    }
    let serializable = RangeRequest { serializable: true, ..get(KEY) };
    let answer = bounded(kv.range(serializable)).await.expect("serializable reads need nobody");
    assert_eq!(answer.into_inner().count, 1);

    net.heal();
    load.progress(50).await;
    load.book.ledger.attempt(b"after");
    bounded(kv.put(put("after"))).await.expect("a healed member takes writes");
    // The watch that asked for no leader has lived through all of it.
    bounded(sees(&mut patient, "after")).await;
    // A minority may have kept the refused write as a proposal; it must not appear now.
    let lost = bounded(kv.range(get("lost"))).await.expect("a healed member serves");
    assert_eq!(lost.into_inner().count, 0, "a write that a minority refused came true");
    load.finish(&mut cluster).await;
}

fn put(key: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: key.to_owned().into(), ..Default::default() }
}

fn get(key: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), ..Default::default() }
}

/// The request, with the metadata by which a client says that it wants no answer from a member
/// without a leader.
fn with_leader<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("hasleader", "true".parse().expect("ASCII"));
    request
}

async fn knows_no_leader(cluster: &Cluster, at: usize) {
    eventually("the minority knows that it has no leader", NO_LEADER_S_MAX, async || {
        let leader = cluster.member(at).status().await?.leader;
        if leader == 0 { Ok(()) } else { Err(format!("it says {leader:x}")) }
    })
    .await;
}

async fn refuses_by_metadata(cluster: &Cluster, at: usize) {
    let clients = cluster.clients(at);
    let write = bounded(clients.kv.clone().put(with_leader(put("lost")))).await.map(drop);
    let serializable = RangeRequest { serializable: true, ..get(KEY) };
    let read = bounded(clients.kv.clone().range(with_leader(serializable))).await.map(drop);
    for refusal in [write, read] {
        let refusal = refusal.expect_err("there is no leader");
        assert_eq!((refusal.code(), refusal.message()), (Code::Unavailable, NO_LEADER));
    }
}

/// A watch of all keys that the member has confirmed.
async fn watch(cluster: &Cluster, at: usize, has_leader: bool) -> Streaming<WatchResponse> {
    let create =
        WatchCreateRequest { key: vec![0].into(), range_end: vec![0].into(), ..Default::default() };
    let first = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests =
        tokio_stream::StreamExt::chain(tokio_stream::once(first), tokio_stream::pending());
    let request = if has_leader { with_leader(requests) } else { Request::new(requests) };
    let answers = bounded(cluster.clients(at).watch.watch(request)).await;
    let mut answers = answers.expect("a healthy member watches").into_inner();
    let created = bounded(answers.message()).await.expect("a healthy member answers");
    assert!(created.is_some_and(|answer| answer.created));
    answers
}

/// Reads on to the end of the stream.
async fn end_of(answers: &mut Streaming<WatchResponse>) -> Status {
    loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Status::ok("the stream ended without a word"),
            Err(end) => return end,
        }
    }
}

/// Reads on to the event of a key.
async fn sees(answers: &mut Streaming<WatchResponse>, key: &str) {
    loop {
        let answer = answers.message().await.expect("this watch goes on");
        let events = answer.expect("this watch goes on").events;
        let keys = events.iter().filter_map(|event| event.kv.as_ref());
        if keys.into_iter().any(|kv| kv.key == key.as_bytes()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
