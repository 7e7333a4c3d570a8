//! Members die under load.

use testkit::{Cluster, subject};

use crate::workload::Load;

/// Proves that killing the leader again and again loses no acknowledged write, that clients go
/// on, and that each killed member catches up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed_and_nothing_acknowledged_is_lost() {
    const KILLS: usize = 3;
    let mut cluster = Cluster::start(subject!(), 3).await;
    let load = Load::start(&cluster);
    for _ in 0..KILLS {
        load.progress(50).await;
        let leader = cluster.leader().await;
        cluster.member_mut(leader).kill();
        load.progress(50).await;
        assert_ne!(cluster.leader().await, leader, "a dead member leads");
        cluster.member_mut(leader).restart().await;
    }
    load.finish(&mut cluster).await;
}

/// Proves that a follower which was away under load catches up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_away_for_ten_seconds_catches_up() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let load = Load::start(&cluster);
    load.progress(50).await;
    let leader = cluster.leader().await;
    let follower = cluster.others(leader)[0];
    cluster.member_mut(follower).kill();
    load.linger(10).await;
    load.progress(50).await;
    cluster.member_mut(follower).restart().await;
    load.finish(&mut cluster).await;
}

/// Proves that a cluster whose members were all killed at once comes back with everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_are_killed_at_once_and_come_back() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let load = Load::start(&cluster);
    load.progress(100).await;
    for at in 0..cluster.len() {
        cluster.member_mut(at).kill();
    }
    cluster.launch();
    for at in 0..cluster.len() {
        cluster.member_mut(at).wait_serving().await;
    }
    load.progress(50).await;
    load.finish(&mut cluster).await;
}
