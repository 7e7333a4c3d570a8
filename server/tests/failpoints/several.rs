//! Points that a member passes as one of several.

use crate::acknowledged::Acknowledged;
use crate::alone::Case;
use crate::crash::{crash, members};
use crate::load::*;

pub(crate) const POINTS: &[Case] = &[
    ("raftBeforeLeaderSend", || Box::new(Writes)),
    ("raftBeforeSave", || Box::new(Writes)),
    ("raftAfterSave", || Box::new(Writes)),
    ("raftBeforeFollowerSend", || Box::new(Writes)),
    ("beforeCommit", || Box::new(Writes)),
    ("afterWritebackBuf", || Box::new(Writes)),
];

/// Proves that a leader and a follower that crash on the way of a write lose nothing that was
/// acknowledged, and that all members have it in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_and_followers_crash_at_each_point_and_lose_nothing() {
    let mut cluster = members(3).await;
    let mut acknowledged = Acknowledged::default();
    for (point, load) in POINTS {
        let leader = cluster.leader().await;
        let follower = cluster.others(leader)[0];
        if *point != "raftBeforeFollowerSend" {
            crash(&mut cluster, (leader, leader), point, &mut *load(), &mut acknowledged).await;
        }
        let leader = cluster.leader().await;
        let follower = if follower == leader { cluster.others(leader)[0] } else { follower };
        if *point != "raftBeforeLeaderSend" {
            crash(&mut cluster, (follower, leader), point, &mut *load(), &mut acknowledged).await;
        }
    }
    for at in 0..cluster.len() {
        acknowledged.check(&cluster.clients(at), true).await;
    }
    cluster.converged().await;
}
