//! Members that come and go.

use api::etcdserverpb::{
    Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
};
use testkit::{Cluster, Place, bounded, eventually, subject};
use tonic::Code;

use crate::workload::Load;

/// etcd changes members only when all have been connected for five seconds.
pub(crate) const CHANGE_S_MAX: u64 = 60;

/// Proves that a member which lost its disk is refused as the old one, and comes back as a new
/// one with all data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_disk_comes_back_only_as_a_new_one() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let load = Load::start(&cluster);
    load.progress(50).await;
    let leader = cluster.leader().await;
    let victim = cluster.others(leader)[0];
    let old = cluster.id(victim).await;
    cluster.member_mut(victim).kill();
    cluster.member_mut(victim).lose_disk();
    cluster.member_mut(victim).launch();
    let status = cluster.member_mut(victim).wait_end().await;
    assert!(!status.success(), "it started as if nothing had happened");
    let log = cluster.member(victim).log();
    assert!(log.contains("has already been bootstrapped"), "{log}");

    cluster_forgets(&mut cluster, old).await;
    let url = cluster.member(victim).place.advertised_peer_url();
    let new = add(&cluster, leader, &url, false).await.id;
    assert_ne!(new, old, "an id was used again");
    let member = cluster.member_mut(victim);
    if member.data_dir().exists() {
        member.lose_disk();
    }
    member.birth.state = "existing";
    member.restart().await;
    assert_eq!(cluster.id(victim).await, new);
    load.progress(50).await;
    load.finish(&mut cluster).await;
}

/// Proves that a removed leader hands over and ends, that a removed follower ends, and that neither
/// comes back with its old data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_ends_and_stays_out() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let load = Load::start(&cluster);
    load.progress(50).await;
    let leader = cluster.leader().await;
    remove(&mut cluster, leader).await;
    load.progress(50).await;

    let next = cluster.leader().await;
    let follower = cluster.running().into_iter().find(|at| *at != next).expect("two are left");
    remove(&mut cluster, follower).await;
    load.progress(50).await;
    assert_eq!(members(&cluster, next).await.len(), 1);

    for removed in [leader, follower] {
        cluster.member_mut(removed).launch();
        cluster.member_mut(removed).wait_end().await;
        let log = cluster.member(removed).log();
        assert!(log.contains("removed from the cluster"), "{log}");
    }
    load.finish(&mut cluster).await;
}

/// Proves that a learner is not promoted before it has caught up, catches up without a vote, and
/// becomes a member that counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_is_promoted_when_it_has_caught_up() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let load = Load::start(&cluster);
    load.progress(100).await;
    let leader = cluster.leader().await;
    let place = Place::loopback();
    let learner = add(&cluster, leader, &place.advertised_peer_url(), true).await;
    assert!(learner.is_learner);
    let refusal = promote(&cluster, leader, learner.id).await.expect_err("it never even ran");
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert_eq!(
        refusal.message(),
        "etcdserver: can only promote a learner member which is in sync with leader"
    );
    let at = cluster.join(place, &[]);
    cluster.member_mut(at).launch();
    eventually("the learner is promoted", CHANGE_S_MAX, async || {
        promote(&cluster, leader, learner.id).await.map_err(|refusal| refusal.to_string())
    })
    .await;
    cluster.member_mut(at).wait_serving().await;
    let again = promote(&cluster, leader, learner.id).await.expect_err("it is promoted");
    assert_eq!(again.message(), "etcdserver: can only promote a learner member");
    // Four members: two may not be away, and the new one counts.
    let follower = cluster.others(leader)[0];
    cluster.member_mut(follower).kill();
    load.progress(50).await;
    cluster.member_mut(follower).restart().await;
    load.finish(&mut cluster).await;
}

/// Proves that etcd's checks before a change hold: no URL twice, no unknown member, no change that
/// would leave the cluster without a majority.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_would_harm_are_refused() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let leader = cluster.leader().await;
    let taken = cluster.member(0).place.advertised_peer_url();
    // Whether all are connected long enough may be asked first.
    eventually("a URL is refused the second time", CHANGE_S_MAX, async || {
        let request = MemberAddRequest { peer_urls: vec![taken.clone()], is_learner: false };
        match bounded(cluster.clients(leader).cluster.member_add(request)).await {
            Ok(added) => panic!("{added:?}"),
            Err(refusal) if refusal.message() == "etcdserver: Peer URLs already exists" => Ok(()),
            Err(refusal) => Err(refusal.to_string()),
        }
    })
    .await;
    let unknown = MemberRemoveRequest { id: 7 };
    let refusal = bounded(cluster.clients(leader).cluster.member_remove(unknown))
        .await
        .expect_err("no such id");
    assert_eq!(
        (refusal.code(), refusal.message()),
        (Code::NotFound, "etcdserver: member not found")
    );

    let follower = cluster.others(leader)[0];
    let healthy = cluster.id(cluster.others(leader)[1]).await;
    cluster.member_mut(follower).kill();
    eventually("removing one of the last two is refused", CHANGE_S_MAX, async || {
        let request = MemberRemoveRequest { id: healthy };
        match bounded(cluster.clients(leader).cluster.member_remove(request)).await {
            Ok(_) => panic!("the cluster has no majority now"),
            Err(refusal) if refusal.message() == "etcdserver: unhealthy cluster" => Ok(()),
            Err(refusal) => Err(refusal.to_string()),
        }
    })
    .await;
    assert_eq!(members(&cluster, leader).await.len(), 3);
    cluster.member_mut(follower).restart().await;
    cluster.converged().await;
}

pub(crate) async fn members(cluster: &Cluster, at: usize) -> Vec<Member> {
    let request = MemberListRequest { linearizable: true };
    let list = bounded(cluster.clients(at).cluster.member_list(request)).await;
    list.expect("a member lists the members").into_inner().members
}

/// Adds a member as soon as the cluster allows it.
pub(crate) async fn add(cluster: &Cluster, at: usize, url: &str, is_learner: bool) -> Member {
    eventually("a member is added", CHANGE_S_MAX, async || {
        let request = MemberAddRequest { peer_urls: vec![url.to_owned()], is_learner };
        let added = bounded(cluster.clients(at).cluster.member_add(request)).await;
        let added = added.map_err(|refusal| refusal.to_string())?.into_inner();
        Ok(added.member.expect("the answer has the member"))
    })
    .await
}

/// Removes the member at `at` as soon as the cluster allows it, and waits for its end.
async fn remove(cluster: &mut Cluster, at: usize) {
    let id = cluster.id(at).await;
    cluster_forgets(cluster, id).await;
    cluster.member_mut(at).wait_end().await;
}

/// Asks one member after the other: the answer may go down with the member that is removed.
async fn cluster_forgets(cluster: &mut Cluster, id: u64) {
    let mut asked = 0;
    eventually("a member is removed", CHANGE_S_MAX, async || {
        let running = cluster.running();
        asked += 1;
        let request = MemberRemoveRequest { id };
        let mut clients = cluster.clients(running[asked % running.len()]);
        match bounded(clients.cluster.member_remove(request)).await {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.code() == Code::NotFound => Ok(()),
            Err(refusal) => Err(refusal.to_string()),
        }
    })
    .await;
}

async fn promote(cluster: &Cluster, at: usize, id: u64) -> Result<(), tonic::Status> {
    let request = MemberPromoteRequest { id };
    bounded(cluster.clients(at).cluster.member_promote(request)).await.map(drop)
}
