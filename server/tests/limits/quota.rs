//! The quota: writes stop, reading and deleting goes on, and there is a way back.

use api::etcdserverpb::*;
use testkit::{Clients, Kind, Server, bounded, subject};
use tonic::Code;

use crate::store::{Outcome, assert_serves, outcome, put_request};

const MIB: usize = 1 << 20;
/// Small, so that it is reached soon, but more than an empty store takes.
const QUOTA: &str = "--quota-backend-bytes=16777216";
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// Proves that a full server refuses writes in etcd's words, goes on reading and deleting, and
/// takes writes again after a compaction (for etcd, and a defragmentation).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_recovers_by_compaction() {
    let mut server = Server::start(subject!(), &[QUOTA]).await;
    let mut clients = server.clients();
    let written = fill(&mut clients).await;
    assert_full(&mut clients).await;
    for number in 0..written {
        let delete = DeleteRangeRequest { key: key(number).into(), ..Default::default() };
        let answer = bounded(clients.kv.delete_range(delete)).await;
        assert_eq!(answer.expect("deletes go on").into_inner().deleted, 1);
    }
    recover(&server, &mut clients).await;
    assert_serves(&mut server).await;
    // The space is back, not only the permission.
    let again = fill(&mut clients).await;
    assert!(again >= written / 2, "it took {written} values, and after a compaction {again}");
}

fn key(number: usize) -> String {
    format!("big/{number}")
}

/// Puts until the quota refuses; how many it took.
async fn fill(clients: &mut Clients) -> usize {
    for number in 0..64 {
        let answer = put_big(clients, number).await;
        if answer != (Code::Ok, String::new()) {
            assert_eq!(answer, no_space());
            return number;
        }
    }
    panic!("64 MiB fit into a quota of 16 MiB");
}

async fn put_big(clients: &mut Clients, number: usize) -> Outcome {
    outcome(bounded(clients.kv.put(put_request(&key(number), vec![b'x'; MIB]))).await)
}

fn no_space() -> Outcome {
    (Code::ResourceExhausted, NO_SPACE.to_owned())
}

/// What a full server refuses, and what it does all the same.
async fn assert_full(clients: &mut Clients) {
    assert_eq!(alarms(clients).await, [i32::from(AlarmType::Nospace)]);
    assert_eq!(put_big(clients, 0).await, no_space());
    let grant = LeaseGrantRequest { ttl: 1_000, id: 0 };
    assert_eq!(outcome(bounded(clients.lease.lease_grant(grant)).await), no_space());
    let put = request_op::Request::RequestPut(put_request("small", "v"));
    let txn = TxnRequest { success: vec![RequestOp { request: Some(put) }], ..Default::default() };
    assert_eq!(outcome(bounded(clients.kv.txn(txn)).await), no_space());
    let range = RangeRequest { key: key(0).into(), ..Default::default() };
    let answer = bounded(clients.kv.range(range.clone())).await;
    assert_eq!(answer.expect("reads go on").into_inner().kvs.len(), 1);
    let read = RequestOp { request: Some(request_op::Request::RequestRange(range)) };
    let txn = TxnRequest { success: vec![read], ..Default::default() };
    bounded(clients.kv.txn(txn)).await.expect("transactions that only read go on");
}

async fn alarms(clients: &mut Clients) -> Vec<i32> {
    let answer = bounded(clients.maintenance.alarm(AlarmRequest::default())).await;
    let alarms = answer.expect("alarms can be listed").into_inner().alarms;
    alarms.into_iter().map(|member| member.alarm).collect()
}

async fn recover(server: &Server, clients: &mut Clients) {
    let (revision, _) = crate::store::contents(server).await;
    let compact = CompactionRequest { revision, physical: true };
    bounded(clients.kv.compact(compact)).await.expect("a full server compacts");
    if server.program.kind == Kind::Etcd {
        let defragment = clients.maintenance.defragment(DefragmentRequest {});
        bounded(defragment).await.expect("a full server defragments");
    }
    // All alarms of all members; none is no error.
    let disarm = AlarmRequest { action: 0, ..Default::default() };
    let raised = bounded(clients.maintenance.alarm(disarm)).await;
    for member in raised.expect("alarms can be listed").into_inner().alarms {
        let disarm = AlarmRequest { action: 2, member_id: member.member_id, alarm: member.alarm };
        bounded(clients.maintenance.alarm(disarm)).await.expect("an alarm can be disarmed");
    }
}
