//! Watches across a change of leader.

use api::etcdserverpb::MoveLeaderRequest;
use testkit::{Cluster, Follower, bounded, subject};

use crate::workload::Load;

/// Proves that a watch at a follower goes on over the death of the leader, on the same stream,
/// without gap or repeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_at_a_follower_lives_through_a_change_of_leader() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let load = Load::start(&cluster);
    let leader = cluster.leader().await;
    let followers = cluster.others(leader);
    let watches: Vec<Follower> =
        followers.iter().map(|at| Follower::start(&[cluster.member(*at).endpoint()])).collect();
    load.progress(50).await;
    cluster.member_mut(leader).kill();
    cluster.leader().await;
    load.progress(50).await;
    cluster.member_mut(leader).restart().await;
    load.progress(50).await;
    let position = load.position();
    for watch in &watches {
        watch.upto(position).await;
        assert_eq!(watch.streams(), 1, "the stream broke although its member was there");
    }
    load.finish(&mut cluster).await;
}

/// Proves that moving the leader on purpose fails no request and breaks no watch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moving_the_leader_breaks_nothing() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let load = Load::start(&cluster);
    let watch = Follower::start(&[cluster.member(0).endpoint()]);
    for _ in 0..4 {
        load.progress(30).await;
        let leader = cluster.leader().await;
        let target = cluster.others(leader)[0];
        let request = MoveLeaderRequest { target_id: cluster.id(target).await };
        let moved = bounded(cluster.clients(leader).maintenance.move_leader(request)).await;
        moved.expect("a healthy leader can be moved");
        assert_eq!(cluster.leader().await, target);
    }
    watch.upto(load.position()).await;
    assert_eq!(watch.streams(), 1, "the stream broke although its member was there");
    load.assert_unnoticed();
    load.finish(&mut cluster).await;
}
