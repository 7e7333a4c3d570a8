//! Leases through the whole node, on a clock that the test moves.

use std::time::Duration;

use api::berthpb::{Command, command::Op};
use api::etcdserverpb::{LeaseGrantRequest, PutRequest};
use futures::future::join_all;
use tokio::time::sleep;

use super::home::{Home, TestNode, get};

pub(super) fn grant(id: i64, ttl: i64) -> Command {
    Command {
        principal: None,
        origin: None,
        op: Some(Op::LeaseGrant(LeaseGrantRequest { id, ttl })),
    }
}

fn put_under(lease: i64, key: &str) -> Command {
    let key = key.to_owned().into();
    let put = PutRequest { key, value: "v".into(), lease, ..PutRequest::default() };
    Command { principal: None, origin: None, op: Some(Op::Put(put)) }
}

async fn apply(node: &TestNode, command: Command) {
    node.propose(command).await.unwrap().result.unwrap();
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_lease_takes_its_keys_with_it_on_time() {
    // Proves grant, time left, renewal and expiry through log and store; never early.
    let home = Home::new();
    let node = home.start_on_runtime().await.unwrap();
    apply(&node, grant(5, 10)).await;
    apply(&node, put_under(5, "a")).await;
    apply(&node, put_under(5, "b")).await;
    sleep(s(4)).await;
    assert_eq!(node.lessor().remaining(5), Some(5));
    assert_eq!(node.lessor().keep_alive(5).await, Ok(Some(10)));
    assert_eq!(node.lessor().keep_alive(6).await, Ok(None));

    let before = node.reader().revision();
    sleep(s(9)).await;
    assert_eq!(get(&node.reader(), "a"), Some("v".into()));
    sleep(s(2)).await;
    assert_eq!(get(&node.reader(), "a"), None);
    assert_eq!(get(&node.reader(), "b"), None);
    assert_eq!(node.reader().revision(), before + 1, "one revision for the whole lease");
    assert_eq!(node.reader().lease(5), None);
    assert_eq!(node.lessor().keep_alive(5).await, Ok(None));
    node.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_gives_leases_their_full_time() {
    // Proves that a lease survives a restart, is never early because of it, and still ends.
    let home = Home::new();
    let node = home.start_on_runtime().await.unwrap();
    apply(&node, grant(5, 10)).await;
    apply(&node, put_under(5, "a")).await;
    sleep(s(8)).await;
    node.shutdown().await;

    let node = home.start_on_runtime().await.unwrap();
    sleep(s(9)).await;
    assert_eq!(get(&node.reader(), "a"), Some("v".into()));
    sleep(s(2)).await;
    assert_eq!(get(&node.reader(), "a"), None);
    node.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn thousands_of_leases_end_in_a_few_entries() {
    // Proves that leases due together do not take an entry each.
    let home = Home::new();
    let node = home.start_on_runtime().await.unwrap();
    join_all((1..=3000).map(|id| apply(&node, grant(id, 30)))).await;
    let before = node.status().last_index;
    sleep(s(60)).await;
    assert_eq!(node.reader().leases(), []);
    let entries = node.status().last_index - before;
    assert!((1..=20).contains(&entries), "{entries} entries");
    node.shutdown().await;
}
