//! Three members in one process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::home::{Home, TestNode, get, put, write};
use super::leases::grant;
use super::switchboard::Switchboard;
use crate::vfs::{CrashFs, Vfs as _};
use crate::{InitialMember, Node, Surroundings};
use openraft_rt_tokio::TokioRuntime;

/// Long enough for a few elections on a slow machine.
pub(super) const SOON: Duration = Duration::from_secs(30);

pub(super) struct Cluster {
    pub(super) board: Switchboard,
    pub(super) homes: BTreeMap<u64, Home>,
    pub(super) nodes: BTreeMap<u64, TestNode>,
}

impl Cluster {
    pub(super) async fn start(count: u64) -> Cluster {
        Cluster::start_with(count, |_| {}).await
    }

    pub(super) async fn start_with(count: u64, change: impl Fn(&mut Home)) -> Cluster {
        let changed = |id| {
            let mut home = home(id, count);
            change(&mut home);
            (id, home)
        };
        let mut cluster = Cluster {
            board: Switchboard::default(),
            homes: (1..=count).map(changed).collect(),
            nodes: BTreeMap::new(),
        };
        for id in 1..=count {
            cluster.start_member(id).await;
        }
        for node in cluster.nodes.values() {
            tokio::time::timeout(SOON, node.ready()).await.unwrap().unwrap();
        }
        cluster
    }

    pub(super) async fn start_member(&mut self, id: u64) {
        let home = &self.homes[&id];
        let mut surroundings = match &home.disk {
            Some(disk) => {
                let mut surroundings = Surroundings::real(&home.config);
                surroundings.vfs = disk.vfs();
                surroundings.engines = Box::new(home.engines.clone());
                surroundings
            }
            None => Surroundings::on_runtime::<TokioRuntime>(
                std::sync::Arc::new(home.fs.clone()),
                Box::new(home.engines.clone()),
            ),
        };
        surroundings.transport = self.board.transport(id);
        let node = Node::start_in(home.config.clone(), surroundings).await.unwrap();
        self.board.plug(id, node.receiver());
        self.nodes.insert(id, node);
    }

    pub(super) async fn stop_member(&mut self, id: u64) {
        self.board.unplug(id);
        self.nodes.remove(&id).unwrap().shutdown().await;
    }

    /// Who leads, as all members that run agree.
    pub(super) async fn leader(&self) -> u64 {
        let look = async {
            loop {
                let seen: Vec<_> = self.nodes.values().map(Node::leader).collect();
                match seen[0] {
                    Some(id) if seen.iter().all(|it| *it == Some(id)) => return id,
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::time::timeout(SOON, look).await.expect("a leader")
    }

    pub(super) fn follower_of(&self, leader: u64) -> u64 {
        *self.nodes.keys().find(|id| **id != leader).unwrap()
    }

    pub(super) async fn shutdown(mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.stop_member(id).await;
        }
    }
}

pub(super) fn home(id: u64, count: u64) -> Home {
    let mut home = Home::new();
    let member =
        |id| InitialMember { id, name: format!("m{id}"), peer_urls: vec![format!("http://m{id}")] };
    home.config.member_id = id;
    home.config.nonce = 1000 * id;
    home.config.members = (1..=count).map(member).collect();
    home
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_member_is_told_all_have() {
    // Proves that writes and linearizable reads go through any member, and that the answer to a
    // write comes after this member has applied it.
    let cluster = Cluster::start(3).await;
    for (id, node) in &cluster.nodes {
        let key = format!("by-{id}");
        write(node, &key, "1").await;
        assert_eq!(get(&node.reader(), &key).as_deref(), Some("1"));
        for other in cluster.nodes.values() {
            other.linearizable().await.unwrap();
            assert_eq!(get(&other.reader(), &key).as_deref(), Some("1"));
        }
    }
    let hashes: Vec<_> =
        cluster.nodes.values().map(|node| node.reader().hash_kv(0).unwrap()).collect();
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{hashes:?}");
    assert_eq!(cluster.nodes[&1].members().len(), 3);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_majority_goes_on_without_its_leader() {
    // Proves failover: writes that wait through the election succeed, the old leader refuses both
    // writes and linearizable reads while it is cut off, and has everything after.
    let mut cluster = Cluster::start(3).await;
    let old = cluster.leader().await;
    let follower = cluster.follower_of(old);
    write(&cluster.nodes[&follower], "a", "1").await;
    for id in [1, 2, 3] {
        if id != old {
            cluster.board.cut(old, id);
        }
    }
    // At once: it has to wait for the election.
    write(&cluster.nodes[&follower], "a", "2").await;
    assert!(cluster.nodes[&old].linearizable().await.is_err());
    assert!(cluster.nodes[&old].propose(put("a", "lost")).await.is_err());
    assert_eq!(cluster.nodes[&old].leader(), None);
    cluster.board.mend();
    tokio::time::timeout(SOON, cluster.nodes[&old].ready()).await.unwrap().unwrap();
    assert_eq!(get(&cluster.nodes[&old].reader(), "a").as_deref(), Some("2"));

    let leader = cluster.leader().await;
    cluster.stop_member(leader).await;
    let next = cluster.follower_of(leader);
    write(&cluster.nodes[&next], "b", "3").await;
    cluster.start_member(leader).await;
    tokio::time::timeout(SOON, cluster.nodes[&leader].ready()).await.unwrap().unwrap();
    assert_eq!(get(&cluster.nodes[&leader].reader(), "b").as_deref(), Some("3"));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_goes_on_alone_when_it_is_told_to() {
    // Proves force-new-cluster: nothing that was acknowledged is lost, the cluster has one member,
    // and what is left of the others is refused.
    let mut cluster = Cluster::start(3).await;
    write(&cluster.nodes[&1], "a", "1").await;
    for node in cluster.nodes.values() {
        node.linearizable().await.unwrap();
    }
    for id in [1, 2, 3] {
        cluster.stop_member(id).await;
    }
    cluster.homes.get_mut(&2).unwrap().config.force_new_cluster = true;
    cluster.start_member(2).await;
    let alone = &cluster.nodes[&2];
    alone.ready().await.unwrap();
    assert_eq!(get(&alone.reader(), "a").as_deref(), Some("1"));
    write(alone, "b", "2").await;
    assert_eq!(alone.members().iter().map(|member| member.id).collect::<Vec<_>>(), [2]);

    cluster.start_member(3).await;
    let refused = tokio::time::timeout(SOON, cluster.nodes[&3].failed()).await.unwrap();
    assert!(refused.to_string().contains("permanently removed"), "{refused}");

    cluster.stop_member(2).await;
    cluster.homes.get_mut(&2).unwrap().config.force_new_cluster = false;
    cluster.start_member(2).await;
    assert_eq!(get(&cluster.nodes[&2].reader(), "b").as_deref(), Some("2"));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_died_with_a_new_snapshot_and_an_old_log_can_go_on_alone() {
    // Proves force-new-cluster for a member that was given a snapshot and died before its log was
    // cut to it: the state is the snapshot's, and it leads and writes, also after another start.
    let small = |home: &mut Home| home.config.snapshot_log_bytes_min = 64 << 10;
    let mut cluster = Cluster::start_with(3, small).await;
    write(&cluster.nodes[&1], "a", "1").await;
    cluster.stop_member(3).await;
    write(&cluster.nodes[&1], "a", "2").await;
    let filler = "f".repeat(16 << 10);
    let before = cluster.nodes[&1].status().snapshot_index;
    let taken = async {
        while cluster.nodes[&1].status().snapshot_index == before {
            write(&cluster.nodes[&1], "filler", &filler).await;
        }
    };
    tokio::time::timeout(SOON, taken).await.expect("a snapshot");
    cluster.stop_member(1).await;
    cluster.stop_member(2).await;
    copy_snapshots(&cluster.homes[&1], &cluster.homes[&3]);

    cluster.homes[&3].engines.lose();
    cluster.homes.get_mut(&3).unwrap().config.force_new_cluster = true;
    cluster.start_member(3).await;
    tokio::time::timeout(SOON, cluster.nodes[&3].ready()).await.unwrap().unwrap();
    assert_eq!(get(&cluster.nodes[&3].reader(), "a").as_deref(), Some("2"));
    write(&cluster.nodes[&3], "b", "3").await;
    cluster.stop_member(3).await;
    cluster.homes.get_mut(&3).unwrap().config.force_new_cluster = false;
    cluster.start_member(3).await;
    let alone = &cluster.nodes[&3];
    tokio::time::timeout(SOON, alone.ready()).await.unwrap().unwrap();
    assert_eq!(get(&alone.reader(), "b").as_deref(), Some("3"));
    assert_eq!(alone.members().iter().map(|member| member.id).collect::<Vec<_>>(), [3]);
    cluster.shutdown().await;
}

/// As if they had been received.
fn copy_snapshots(from: &Home, to: &Home) {
    let dir = Path::new("/data/snap");
    for name in from.fs.read_dir(dir).unwrap() {
        let file = from.fs.open(&dir.join(&name)).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(&mut bytes, 0).unwrap();
        to.fs.create(&dir.join(&name)).unwrap().write_at(&bytes, 0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_went_bad_is_not_sent_for_ever() {
    // Proves that a member that is behind gets the state though the newest snapshots of all others
    // went bad on their disks: the one before it is sent, and another one is taken at once.
    let small = |home: &mut Home| home.config.snapshot_log_bytes_min = 64 << 10;
    let mut cluster = Cluster::start_with(3, small).await;
    let leader = cluster.leader().await;
    let behind = cluster.follower_of(leader);
    let end = cluster.nodes[&behind].status().applied_index;
    cluster.stop_member(behind).await;
    let filler = "f".repeat(16 << 10);
    let purged = async {
        while cluster.nodes.values().any(|node| node.status().purged_index <= end) {
            write(&cluster.nodes[&leader], "filler", &filler).await;
        }
    };
    tokio::time::timeout(SOON, purged).await.expect("the log is purged");
    write(&cluster.nodes[&leader], "a", "1").await;
    let bad: BTreeMap<u64, PathBuf> =
        cluster.nodes.keys().map(|id| (*id, spoil_newest_snapshot(&cluster.homes[id]))).collect();

    cluster.start_member(behind).await;
    let late = &cluster.nodes[&behind];
    tokio::time::timeout(SOON, late.linearizable()).await.expect("it catches up").unwrap();
    assert_eq!(get(&late.reader(), "a").as_deref(), Some("1"));
    let replaced = async {
        loop {
            let is_replaced = |(id, path): (&u64, &PathBuf)| {
                let fs = &cluster.homes[id].fs;
                let newest = snapshots(fs).pop();
                fs.contents(&path.with_extension("damaged")).is_some()
                    && newest.is_some_and(|newest| newest > *path)
            };
            if bad.iter().any(is_replaced) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, replaced).await.expect("put aside, and another taken");
    cluster.shutdown().await;
}

/// Changes a byte in the middle of it, in place.
fn spoil_newest_snapshot(home: &Home) -> PathBuf {
    let newest = snapshots(&home.fs).pop().expect("there is one");
    let file = home.fs.open(&newest).unwrap();
    let middle = file.len().unwrap() / 2;
    let mut byte = [0];
    file.read_at(&mut byte, middle).unwrap();
    file.write_at(&[byte[0] ^ 1], middle).unwrap();
    newest
}

/// Those that are finished, oldest first.
fn snapshots(fs: &CrashFs) -> Vec<PathBuf> {
    let dir = Path::new("/data/snap");
    let mut names = fs.read_dir(dir).unwrap();
    names.retain(|name| name.ends_with(".snap"));
    names.sort_unstable();
    names.iter().map(|name| dir.join(name)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_kept_alive_through_any_member() {
    // Proves that a follower asks the leader's clock, that it has applied what it tells of then, and
    // that a new leader gives the full time.
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.follower_of(leader);
    let node = &cluster.nodes[&follower];
    // A follower may be faster than its leader in applying what the leader committed.
    for id in 10..200 {
        node.propose(grant(id, 60)).await.unwrap().result.unwrap();
        assert_eq!(node.keep_alive(id).await, Ok(Some(60)));
    }
    // And slower.
    for id in 200..240 {
        cluster.nodes[&leader].propose(grant(id, 60)).await.unwrap().result.unwrap();
        assert!(node.lease_remaining(id).await.unwrap().is_some());
        assert_eq!(node.reader().lease(id).unwrap().ttl_s, 60);
    }
    node.propose(grant(7, 60)).await.unwrap().result.unwrap();
    assert_eq!(node.keep_alive(7).await, Ok(Some(60)));
    assert!(node.lease_remaining(7).await.unwrap().is_some_and(|left| left >= 50));
    assert_eq!(node.keep_alive(8).await, Ok(None));
    cluster.stop_member(leader).await;
    let node = &cluster.nodes[&follower];
    assert_eq!(node.keep_alive(7).await, Ok(Some(60)));
    cluster.shutdown().await;
}
