//! Members that come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::berthpb::members_question::Change;
use api::berthpb::{AddMember, PromoteMember, PublishMember, RemoveMember, UpdateMember};
use api::berthpb::{Command, command::Op};
use api::etcdserverpb::Member;

use openraft::{ChangeMembers, RaftMetrics, ServerState};
use openraft_rt_tokio::TokioRuntime;

use super::super::is_learner;
use super::cluster::{Cluster, SOON, home};
use super::home::{TestNode, get, put, write};
use crate::types::{Membership, Peer, StoredMembership, Types};
use crate::{Error, MembersError};

fn add(id: u64, is_learner: bool) -> Change {
    Change::Add(AddMember { peer_urls: vec![format!("http://m{id}")], is_learner, id })
}

fn remove(id: u64) -> Change {
    Change::Remove(RemoveMember { id })
}

/// What a server does once it is ready: without it a member counts as never started.
async fn publish(node: &TestNode) {
    let member = Member {
        id: node.member_id(),
        name: "n".into(),
        client_urls: vec!["http://c".into()],
        ..Member::default()
    };
    let published = PublishMember { member: Some(member), incarnation: node.incarnation() };
    let op = Some(Op::PublishMember(published));
    node.propose(Command { op, ..Command::default() }).await.unwrap().result.unwrap();
}

impl Cluster {
    /// Adds member `id` by asking member `by`, starts it and waits until it serves.
    async fn grow(&mut self, by: u64, id: u64) {
        self.nodes[&by].change_members(add(id, false)).await.unwrap();
        self.join(id).await;
        tokio::time::timeout(SOON, self.nodes[&id].ready()).await.unwrap().unwrap();
        publish(&self.nodes[&id]).await;
    }

    async fn join(&mut self, id: u64) {
        let mut home = home(id, 1);
        home.config.members.clear();
        self.homes.insert(id, home);
        self.start_member(id).await;
    }
}

fn hash(node: &TestNode) -> u32 {
    node.reader().hash_kv(0).unwrap().hash
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_becomes_three_and_two() {
    // Proves growth while writes go on, that a new member has everything, that a removed one stops,
    // and that its id is never given again.
    let mut cluster = Cluster::start(1).await;
    publish(&cluster.nodes[&1]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (writer, stopped) = (cluster.nodes[&1].clone(), stop.clone());
    let writes = tokio::spawn(async move {
        let mut count = 0;
        while !stopped.load(Ordering::Acquire) {
            write(&writer, &format!("k{count}"), "v").await;
            count += 1;
        }
        count
    });
    cluster.grow(1, 2).await;
    cluster.grow(2, 3).await;
    stop.store(true, Ordering::Release);
    let count = writes.await.unwrap();
    assert!(count > 0);
    for node in cluster.nodes.values() {
        node.linearizable().await.unwrap();
        assert_eq!(get(&node.reader(), &format!("k{}", count - 1)).as_deref(), Some("v"));
        assert_eq!(node.members().iter().filter(|member| !member.is_learner).count(), 3);
        assert_eq!(hash(node), hash(&cluster.nodes[&1]));
    }
    let gone = cluster.follower_of(cluster.leader().await);
    let by = cluster.follower_of(gone);
    cluster.nodes[&by].change_members(remove(gone)).await.unwrap();
    let failure = tokio::time::timeout(SOON, cluster.nodes[&gone].failed()).await.unwrap();
    assert!(failure.to_string().contains("permanently removed"), "{failure}");
    cluster.stop_member(gone).await;
    let again = cluster.nodes[&by].change_members(add(gone, true)).await;
    assert_eq!(again, Err(MembersError::IdExists));
    write(&cluster.nodes[&by], "after", "1").await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_alone_reads_without_a_round_until_it_is_not_alone() {
    // Proves that a member which was alone has lost that when another may have the lead: each read
    // shows what the other acknowledged just before; and that alone again, also after a restart, it
    // has it back.
    const WRITES: usize = 200;
    let mut cluster = Cluster::start(1).await;
    let settled = |node: &TestNode| node.inner.read_index.sole.is_settled();
    publish(&cluster.nodes[&1]).await;
    cluster.nodes[&1].linearizable().await.unwrap();
    assert!(settled(&cluster.nodes[&1]));
    cluster.nodes[&1].change_members(add(9, true)).await.unwrap();
    cluster.nodes[&1].linearizable().await.unwrap();
    assert!(!settled(&cluster.nodes[&1]), "a learner may answer too");
    cluster.nodes[&1].change_members(remove(9)).await.unwrap();
    cluster.nodes[&1].linearizable().await.unwrap();
    assert!(settled(&cluster.nodes[&1]));
    cluster.grow(1, 2).await;
    let (old, new) = (&cluster.nodes[&1], &cluster.nodes[&2]);
    assert!(!settled(old));
    old.transfer_leader(2).await.unwrap();
    for write_number in 0..WRITES {
        let value = write_number.to_string();
        write(new, "k", &value).await;
        old.linearizable().await.unwrap();
        assert_eq!(get(&old.reader(), "k"), Some(value));
        assert!(!settled(old) && !settled(new));
    }
    new.transfer_leader(1).await.unwrap();
    old.change_members(remove(2)).await.unwrap();
    old.linearizable().await.unwrap();
    assert!(settled(old));
    cluster.stop_member(2).await;
    cluster.stop_member(1).await;
    cluster.start_member(1).await;
    let again = &cluster.nodes[&1];
    tokio::time::timeout(SOON, again.ready()).await.unwrap().unwrap();
    again.linearizable().await.unwrap();
    assert!(settled(again));
    assert_eq!(get(&again.reader(), "k"), Some((WRITES - 1).to_string()));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_removes_itself() {
    // Proves that the call is answered, that the others go on, and that the removed one stops.
    let mut cluster = Cluster::start(3).await;
    for node in cluster.nodes.values() {
        publish(node).await;
    }
    let leader = cluster.leader().await;
    let members = cluster.nodes[&leader].change_members(remove(leader)).await.unwrap();
    assert_eq!(members.len(), 2);
    let other = cluster.follower_of(leader);
    write(&cluster.nodes[&other], "a", "1").await;
    let failure = tokio::time::timeout(SOON, cluster.nodes[&leader].failed()).await.unwrap();
    assert!(failure.to_string().contains("permanently removed"), "{failure}");
    cluster.stop_member(leader).await;
    assert_eq!(cluster.nodes[&other].members().len(), 2);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_is_promoted_when_it_has_caught_up() {
    // Proves that a learner stays one until it is promoted, that this is refused while it does not
    // run, and that addresses can be changed.
    let mut cluster = Cluster::start(1).await;
    publish(&cluster.nodes[&1]).await;
    for count in 0..50 {
        write(&cluster.nodes[&1], &format!("k{count}"), "v").await;
    }
    cluster.nodes[&1].change_members(add(2, true)).await.unwrap();
    let promote = || Change::Promote(PromoteMember { id: 2 });
    let early = cluster.nodes[&1].change_members(promote()).await;
    assert_eq!(early, Err(MembersError::NotReady));
    let more = cluster.nodes[&1].change_members(add(3, true)).await;
    assert_eq!(more, Err(MembersError::TooManyLearners));
    cluster.join(2).await;
    let promoted = async {
        while cluster.nodes[&1].change_members(promote()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, promoted).await.unwrap();
    tokio::time::timeout(SOON, cluster.nodes[&2].ready()).await.unwrap().unwrap();
    let again = cluster.nodes[&2].change_members(promote()).await;
    assert_eq!(again, Err(MembersError::NotLearner));
    let urls = vec!["http://moved".to_owned()];
    let update = Change::Update(UpdateMember { id: 2, peer_urls: urls.clone() });
    let members = cluster.nodes[&1].change_members(update).await.unwrap();
    assert_eq!(members.iter().find(|member| member.id == 2).unwrap().peer_urls, urls);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_without_a_failed_write() {
    // Proves that writes through every member wait for the new leader and none fails.
    let cluster = Cluster::start(3).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = cluster
        .nodes
        .iter()
        .map(|(id, node)| {
            let (id, node, stop) = (*id, node.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Acquire) {
                    node.propose(put(&format!("k{id}"), "v")).await.unwrap().result.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..6 {
        let leader = cluster.leader().await;
        let next = cluster.follower_of(leader);
        cluster.nodes[&leader].transfer_leader(next).await.unwrap();
        assert_eq!(cluster.leader().await, next);
    }
    stop.store(true, Ordering::Release);
    for writer in writers {
        writer.await.unwrap();
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_means_to_end_hands_over_first() {
    // Proves that another member leads when it returns, and that one who does not lead, or is
    // alone, has nothing to hand over.
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    cluster.nodes[&leader].hand_over().await.unwrap();
    let next = cluster.nodes[&leader].leader().unwrap();
    assert_ne!(next, leader);
    cluster.nodes[&leader].hand_over().await.unwrap();
    assert_eq!(cluster.leader().await, next);
    cluster.shutdown().await;
    let alone = Cluster::start(1).await;
    alone.nodes[&1].hand_over().await.unwrap();
    assert_eq!(alone.leader().await, 1);
    alone.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_comes_late_is_fed_by_a_snapshot() {
    // Proves that a member for which the log no longer goes back far enough gets the state from
    // disk, while writes go on, and equals the others.
    let mut cluster = Cluster::start(0).await;
    let mut first = home(1, 1);
    first.config.snapshot_log_bytes_min = 64 << 10;
    cluster.homes.insert(1, first);
    cluster.start_member(1).await;
    publish(&cluster.nodes[&1]).await;
    let value = "x".repeat(10_000);
    let mut count = 0;
    while cluster.nodes[&1].inner.wal.first_index() == 0 {
        assert!(count < 5000, "nothing is purged");
        write(&cluster.nodes[&1], &format!("k{}", count % 20), &value).await;
        count += 1;
    }
    cluster.grow(1, 2).await;
    write(&cluster.nodes[&2], "last", "1").await;
    cluster.nodes[&1].linearizable().await.unwrap();
    cluster.nodes[&2].linearizable().await.unwrap();
    assert!(cluster.nodes[&2].status().snapshot_index > 0, "it came by the log");
    assert_eq!(hash(&cluster.nodes[&1]), hash(&cluster.nodes[&2]));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_due_before_a_change_is_not_done_after_it() {
    // Proves that a leader about to give a member its vote looks again when its turn has come: a
    // member that was removed meanwhile does not come back, and the cluster goes on.
    let mut cluster = Cluster::start(1).await;
    publish(&cluster.nodes[&1]).await;
    cluster.nodes[&1].change_members(add(2, false)).await.unwrap();
    let leader = cluster.nodes[&1].clone();
    let turn = leader.inner.changing.lock().await;
    cluster.join(2).await;
    let caught_up = async {
        while cluster.nodes[&2].reader().position().index < leader.reader().position().index {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, caught_up).await.unwrap();
    // Time enough to see that it has caught up, and to queue for a turn.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let gone = ChangeMembers::RemoveNodes([2].into());
    leader.inner.raft.change_membership(gone, false).await.unwrap();
    drop(turn);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(leader.members().iter().map(|member| member.id).collect::<Vec<_>>(), [1]);
    write(&leader, "after", "1").await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_removes_itself() {
    // Proves that the call is answered with those who are left, although the one who answers is
    // none of them, and that it stops after.
    let mut cluster = Cluster::start(3).await;
    for node in cluster.nodes.values() {
        publish(node).await;
    }
    let gone = cluster.follower_of(cluster.leader().await);
    let members = cluster.nodes[&gone].change_members(remove(gone)).await.unwrap();
    assert_eq!(members.len(), 2);
    assert!(members.iter().all(|member| member.id != gone));
    let failure = tokio::time::timeout(SOON, cluster.nodes[&gone].failed()).await.unwrap();
    assert!(failure.to_string().contains("permanently removed"), "{failure}");
    cluster.stop_member(gone).await;
    let other = cluster.follower_of(gone);
    write(&cluster.nodes[&other], "a", "1").await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_does_not_move_to_who_is_not_there() {
    // Proves that such a move is refused before it costs anything: the same leader leads on, in the
    // same term.
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let gone = cluster.follower_of(leader);
    cluster.stop_member(gone).await;
    let node = &cluster.nodes[&leader];
    let term = node.term();
    assert_eq!(node.transfer_leader(gone).await, Err(Error::Timeout));
    write(node, "a", "1").await;
    assert_eq!((node.leader(), node.term()), (Some(leader), term));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_asked_for_at_once_are_made_one_after_the_other() {
    // Proves that none is lost and none made twice when every member is asked for some at the same
    // time, while leadership moves.
    let mut cluster = Cluster::start(0).await;
    for id in 1..=3 {
        let mut home = home(id, 3);
        home.config.learners_max = 100;
        cluster.homes.insert(id, home);
        cluster.start_member(id).await;
    }
    for node in cluster.nodes.values() {
        tokio::time::timeout(SOON, node.ready()).await.unwrap().unwrap();
        publish(node).await;
    }
    let changes = (10..34).map(|id| {
        let node = cluster.nodes[&(id % 3 + 1)].clone();
        async move {
            node.change_members(add(id, true)).await.unwrap();
            if id % 2 == 0 {
                node.change_members(remove(id)).await.unwrap();
            }
        }
    });
    let moves = async {
        for _ in 0..4 {
            let leader = cluster.leader().await;
            let next = cluster.follower_of(leader);
            cluster.nodes[&leader].transfer_leader(next).await.unwrap();
        }
    };
    futures::future::join(futures::future::join_all(changes), moves).await;
    let expected: Vec<u64> = (1..=3).chain((10..34).filter(|id| id % 2 == 1)).collect();
    for node in cluster.nodes.values() {
        node.linearizable().await.unwrap();
        assert_eq!(node.members().iter().map(|member| member.id).collect::<Vec<_>>(), expected);
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_outlives_the_leader_that_was_asked() {
    // Proves that a change whose leader vanishes before it has answered is made once, by the next.
    let mut cluster = Cluster::start(3).await;
    for node in cluster.nodes.values() {
        publish(node).await;
    }
    let leader = cluster.leader().await;
    let asked = cluster.nodes[&cluster.follower_of(leader)].clone();
    let stalled = cluster.nodes[&leader].clone();
    let turn = stalled.inner.changing.lock().await;
    let peer_urls = vec!["http://moved".to_owned()];
    let update = Change::Update(UpdateMember { id: asked.member_id(), peer_urls });
    let change = tokio::spawn({
        let asked = asked.clone();
        async move { asked.change_members(update).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.stop_member(leader).await;
    drop(turn);
    let members = tokio::time::timeout(SOON, change).await.unwrap().unwrap().unwrap();
    let changed = members.iter().find(|member| member.id == asked.member_id()).unwrap();
    assert_eq!(
        (members.len(), changed.peer_urls.as_slice()),
        (3, ["http://moved".to_owned()].as_slice())
    );
    cluster.shutdown().await;
}

#[test]
fn who_was_removed_is_no_learner() {
    // Proves that a member which is about to end does not tell clients to keep away from it for
    // good, as a learner does.
    let peers = BTreeMap::from([1, 2].map(|id| (id, Peer::default())));
    let membership = Membership::new(vec![BTreeSet::from([1])], peers).unwrap();
    let of = |id: u64| {
        let mut metrics = RaftMetrics::<Types<TokioRuntime>>::new_initial(id);
        metrics.state = ServerState::Learner;
        metrics.membership_config = Arc::new(StoredMembership::new(None, membership.clone()));
        is_learner(&metrics)
    };
    assert!(of(2) && !of(3));
}
