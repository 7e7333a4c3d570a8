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
    assert_eq!(node.keep_alive(5).await, Ok(Some(10)));
    assert_eq!(node.keep_alive(6).await, Ok(None));

    let before = node.reader().revision();
    sleep(s(9)).await;
    assert_eq!(get(&node.reader(), "a"), Some("v".into()));
    sleep(s(2)).await;
    assert_eq!(get(&node.reader(), "a"), None);
    assert_eq!(get(&node.reader(), "b"), None);
    assert_eq!(node.reader().revision(), before + 1, "one revision for the whole lease");
    assert_eq!(node.reader().lease(5), None);
    assert_eq!(node.keep_alive(5).await, Ok(None));
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

/// A node that checkpoints leases every minute.
fn checkpointing() -> Home {
    let mut home = Home::new();
    home.config.lease_checkpoint_interval = Some(s(60));
    home
}

#[tokio::test(start_paused = true)]
async fn a_long_lease_goes_on_from_its_checkpoint() {
    // Proves that leaders which come and go do not make a lease live for ever: each begins with what
    // was left at the last checkpoint, so that all of them together add less than an interval each,
    // and never end it early.
    let home = checkpointing();
    let mut node = home.start_on_runtime().await.unwrap();
    apply(&node, grant(5, 1000)).await;
    apply(&node, put_under(5, "a")).await;
    for _ in 0..3 {
        sleep(s(250)).await;
        node.shutdown().await;
        node = home.start_on_runtime().await.unwrap();
    }
    // 750 s are over, and at most 60 + 1 were given back by each of three starts.
    let left = node.lessor().remaining(5).unwrap();
    assert!((249..=250 + 3 * 61).contains(&left), "{left} s are left");
    sleep(s(248)).await;
    assert_eq!(get(&node.reader(), "a"), Some("v".into()), "it ended early");
    sleep(s(3 * 61 + 5)).await;
    assert_eq!(get(&node.reader(), "a"), None);
    node.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_renewal_outlives_the_checkpoint_before_it() {
    // Proves that a keep-alive which was answered is kept by the next leader, whatever was
    // checkpointed before it; and that short leases are never written down.
    let home = checkpointing();
    let node = home.start_on_runtime().await.unwrap();
    apply(&node, grant(5, 1000)).await;
    apply(&node, grant(6, 60)).await;
    sleep(s(59)).await;
    assert_eq!(node.keep_alive(6).await, Ok(Some(60)));
    sleep(s(50)).await;
    let checkpointed = node.reader().lease(5).unwrap().remaining_s;
    assert!((891..1000).contains(&checkpointed), "{checkpointed} s");
    assert_eq!(node.reader().lease(6).unwrap().remaining_s, 0);
    assert_eq!(node.keep_alive(5).await, Ok(Some(1000)));
    assert_eq!(node.reader().lease(5).unwrap().remaining_s, 0);
    node.shutdown().await;

    let node = home.start_on_runtime().await.unwrap();
    assert!(node.lessor().remaining(5).unwrap() >= 998);
    node.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn keep_alives_and_checkpoints_of_many_leases_do_not_hinder_each_other() {
    // Proves that renewals at every moment of an interval, checkpoints being due or under way or
    // not, are all answered with the full time, and that the log holds it then.
    let home = checkpointing();
    let node = home.start_on_runtime().await.unwrap();
    join_all((1..=200).map(|id| apply(&node, grant(id, 600)))).await;
    for round in 0..40 {
        sleep(Duration::from_millis(1500 + 37 * round)).await;
        let renewed = (1..=200).filter(|id| (id + round as i64) % 40 == 0);
        let renewed: Vec<i64> = renewed.collect();
        for answer in join_all(renewed.iter().map(|id| node.keep_alive(*id))).await {
            assert_eq!(answer, Ok(Some(600)));
        }
        for id in renewed {
            assert_eq!(node.reader().lease(id).unwrap().remaining_s, 0);
        }
    }
    node.shutdown().await;
}
