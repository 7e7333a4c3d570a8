//! What went wrong around compaction.

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest};
use testkit::{Server, bounded, subject};

use crate::steps::{Stream, compact, delete, put, revision, revisions};

/// Proves that a delete at exactly the compaction revision is told to a watch that starts there,
/// before and after a restart.
#[tokio::test]
async fn etcd_18089_and_19179_a_delete_at_the_compaction_revision_is_not_lost() {
    let mut server = Server::start(subject!(), &[]).await;
    put(&server.clients(), "k1", "v").await;
    put(&server.clients(), "k2", "v").await;
    let deleted = delete(&server.clients(), "k1").await;
    let last = put(&server.clients(), "k2", "w").await;
    compact(&server.clients(), deleted, true).await;
    for life in ["first", "second"] {
        let mut stream = Stream::open(&server.clients()).await;
        stream.watch(deleted).await;
        let told = revisions(&stream.rest().await);
        assert_eq!(told, [deleted, last], "in the {life} life");
        server.kill();
        server.restart().await;
    }
}

/// Proves that a transaction that reads what is compacted is refused and writes nothing.
#[tokio::test]
async fn etcd_18667_a_transaction_with_a_compacted_read_changes_nothing() {
    let server = Server::start(subject!(), &[]).await;
    for _ in 0..5 {
        put(&server.clients(), "k", "v").await;
    }
    compact(&server.clients(), 5, false).await;
    let before = revision(&server.clients()).await;
    let wrap = |request| RequestOp { request: Some(request) };
    let write = PutRequest { key: "k".into(), value: "bad".into(), ..Default::default() };
    let read = RangeRequest { key: "k".into(), revision: 2, ..Default::default() };
    let success = vec![wrap(Request::RequestPut(write)), wrap(Request::RequestRange(read))];
    let txn = TxnRequest { success, ..Default::default() };
    let refused = bounded(server.clients().kv.txn(txn)).await.expect_err("it is compacted");
    assert!(refused.message().contains("required revision has been compacted"), "{refused}");
    assert_eq!(revision(&server.clients()).await, before);
    let read = RangeRequest { key: "k".into(), ..Default::default() };
    let answer = bounded(server.clients().kv.range(read)).await.expect("a read").into_inner();
    assert_eq!(answer.kvs[0].value, "v");
}

/// Proves that the revision never goes back, though the process dies again and again while it
/// compacts what the last revisions deleted.
#[tokio::test]
async fn etcd_17780_the_revision_does_not_decrease_after_a_crash_in_a_compaction() {
    let mut server = Server::start(subject!(), &[]).await;
    let mut last = 1;
    for _ in 0..6 {
        for count in 0..40 {
            put(&server.clients(), &format!("k{count}"), "v").await;
            last = delete(&server.clients(), &format!("k{count}")).await;
        }
        compact(&server.clients(), last, false).await;
        server.kill();
        server.restart().await;
        assert_eq!(revision(&server.clients()).await, last);
    }
    assert_eq!(put(&server.clients(), "k", "v").await, last + 1);
}
