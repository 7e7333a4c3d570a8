//! An end in the midst of a compaction.

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};
use testkit::{Clients, Cluster, bounded, eventually};

use crate::crash::{members, wait_crash};
use crate::gofail;
use crate::load::revision;

/// Passed after each step of a compaction, whose part is in the engine then.
const POINT: &str = "compactAfterCommitBatch";
/// Several steps of a compaction, which looks at a thousand keys in each.
const KEYS: usize = 4500;
/// Operations of one transaction.
const KEYS_PER_TXN: usize = 100;
/// The last revisions before a compaction: deletes of keys that its first step looks at.
const DELETES: usize = 50;
const PASSED_S_MAX: u64 = 60;

/// Proves that the revision does not go back, and members do not differ, when all of them end in the
/// midst of a compaction at the newest revision, which is a delete: first stopped, so that the engine
/// on the disk has what one step left, then by a crash. The same for a member alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_17780_the_revision_does_not_decrease_after_a_crash_in_a_compaction() {
    for count in [1, 3] {
        let mut cluster = members(count).await;
        for crashes in [false, true] {
            let clients = cluster.clients(0);
            for _ in 0..2 {
                put_all(&clients).await;
            }
            let mut last = 0;
            for number in 0..DELETES {
                last = delete(&clients, number).await;
            }
            end_in_compaction(&mut cluster, last, crashes).await;
            for at in 0..count {
                cluster.member_mut(at).wait_serving().await;
                assert_eq!(revision(&cluster.clients(at)).await.expect("a read"), last);
            }
            assert_eq!(cluster.converged().await, last);
            assert_eq!(delete(&cluster.clients(0), DELETES).await, last + 1);
            assert_eq!(cluster.converged().await, last + 1);
        }
    }
}

/// Compacts at `revision`, ends all members after the first step of it, and launches them again.
async fn end_in_compaction(cluster: &mut Cluster, revision: i64, crashes: bool) {
    let term = if crashes { "panic" } else { "sleep(\"1s\")" };
    for at in 0..cluster.len() {
        gofail::set(cluster.member(at), POINT, term).await;
    }
    let request = CompactionRequest { revision, physical: false };
    // Whoever is asked may crash before it answers.
    let _ = bounded(cluster.clients(0).kv.compact(request)).await;
    if crashes {
        crash(cluster).await;
    } else {
        stop(cluster).await;
    }
    cluster.launch();
}

/// All members have done a step, and are stopped before the next.
async fn stop(cluster: &mut Cluster) {
    for at in 0..cluster.len() {
        eventually("a step is done", PASSED_S_MAX, async || {
            let path = format!("/{POINT}/count");
            let (_, count) = gofail::ask(cluster.member(at), "GET", &path, "").await;
            let is_passed = count.trim().parse::<u32>().is_ok_and(|count| count > 0);
            is_passed.then_some(()).ok_or(count)
        })
        .await;
    }
    for at in 0..cluster.len() {
        assert!(cluster.member_mut(at).terminate().success());
    }
}

/// A majority has crashed after a step; one that is left alone may not have heard of the compaction.
async fn crash(cluster: &mut Cluster) {
    let minority = (cluster.len() - 1) / 2;
    eventually("a majority crashes", PASSED_S_MAX, async || {
        let running = cluster.running().len();
        if running <= minority { Ok(()) } else { Err(format!("{running} run")) }
    })
    .await;
    for at in 0..cluster.len() {
        let member = cluster.member_mut(at);
        if member.is_running() {
            member.kill();
        } else {
            wait_crash(member, POINT).await;
        }
    }
}

async fn put_all(clients: &Clients) {
    let numbers: Vec<usize> = (0..KEYS).collect();
    for some in numbers.chunks(KEYS_PER_TXN) {
        let put = |number: &usize| {
            let put = PutRequest { key: key(*number), value: "v".into(), ..Default::default() };
            RequestOp { request: Some(Request::RequestPut(put)) }
        };
        let txn = TxnRequest { success: some.iter().map(put).collect(), ..Default::default() };
        bounded(clients.kv.clone().txn(txn)).await.expect("healthy members take writes");
    }
}

/// The revision of the delete.
async fn delete(clients: &Clients, number: usize) -> i64 {
    let request = DeleteRangeRequest { key: key(number), ..Default::default() };
    let answer = bounded(clients.kv.clone().delete_range(request)).await;
    let answer = answer.expect("healthy members take writes").into_inner();
    assert_eq!(answer.deleted, 1);
    answer.header.expect("a header").revision
}

fn key(number: usize) -> bytes::Bytes {
    format!("k{number:04}").into()
}
