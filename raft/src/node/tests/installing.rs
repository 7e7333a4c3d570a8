//! Power failures while a member takes over another's snapshot.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use openraft::vote::RaftLeaderId;
use store::Store;
use store::engine::MemEngine;

use super::home::{Home, TestNode, get, process, write};
use crate::codec;
use crate::open::Metadata;
use crate::snapshot::SnapshotHeader;
use crate::types::{CommittedLeaderId, LeaderId, LogId, Vote};
use crate::vfs::Vfs;
use crate::wal::{self, Wal, WalEntry};

const LEADER: u64 = 0x3e;
const JOINER: u64 = 0x3f;

/// What the leader sends: the bytes of the file.
fn snapshot_of_leader() -> Vec<u8> {
    process().block_on(async {
        let leader = Home::new();
        let node = leader.start().await.unwrap();
        for key in 0..10 {
            write(&node, &format!("k{key}"), "1").await;
        }
        let mut bytes = Vec::new();
        node.backup().await.unwrap().write_to(&mut bytes).unwrap();
        node.shutdown().await;
        bytes
    })
}

/// A member that was told to join, whose log has the leader's vote and the first `entries` of its
/// log: what it had when the snapshot came.
fn joiner(entries: u64) -> Home {
    let mut home = Home::new();
    home.config.member_id = JOINER;
    home.config.members = Vec::new();
    let metadata =
        Metadata { cluster_id: home.config.cluster_id, member_id: JOINER, incarnation: 0 };
    let vfs = Arc::new(home.fs.clone());
    let options = wal::Options::default();
    let opened = Wal::create_or_open(vfs, &home.config.wal_dir, metadata.encode(), options);
    let (wal, _, writer) = opened.unwrap();
    let vote = Vote { leader_id: LeaderId::new(1, LEADER), committed: true };
    wal.save_vote(codec::encode_vote(&vote), Box::new(|saved| saved.unwrap()));
    let blank = Bytes::from_static(&[0]);
    let entry = |index| {
        let log_id = LogId { leader_id: CommittedLeaderId::new(1), index };
        WalEntry { index, log_id: codec::encode_log_id(&log_id), payload: blank.clone() }
    };
    wal.append((0..entries).map(entry).collect(), Box::new(|appended| appended.unwrap()));
    wal.close();
    futures::executor::block_on(writer.run()).unwrap();
    home
}

/// The snapshot got its name.
fn adopt(home: &Home, snapshot: Vec<u8>) {
    let dir = Path::new("/data/snap");
    home.fs.create_dir_all(dir).unwrap();
    home.fs.install(&dir.join("adopted.snap"), snapshot);
}

async fn check(node: &TestNode) {
    for key in 0..10 {
        assert_eq!(get(&node.reader(), &format!("k{key}")).as_deref(), Some("1"));
    }
    assert_eq!(node.inner.wal.first_index(), node.reader().position().index);
}

#[test]
fn a_member_cut_short_in_taking_a_snapshot_starts_from_it() {
    // Proves that between the moment when the snapshot is durable and the one when the log knows
    // of it, power may fail: for a new member with an empty log too, whatever its engine had.
    let snapshot = snapshot_of_leader();
    for (entries, restored) in [(0, false), (0, true), (3, false), (3, true)] {
        let home = joiner(entries);
        adopt(&home, snapshot.clone());
        if restored {
            let engine = Arc::new(MemEngine::new());
            let mut source = &snapshot[..];
            SnapshotHeader::read(&mut source).unwrap();
            Store::restore(engine.clone(), home.config.store.clone(), &mut source).unwrap();
            home.engines.put_back(engine);
        }
        process().block_on(async {
            let node = home.start().await.unwrap_or_else(|error| {
                panic!("{entries} entries, engine restored: {restored}: {error}")
            });
            check(&node).await;
            node.shutdown().await;
            let node = home.start().await.unwrap();
            check(&node).await;
            node.shutdown().await;
        });
    }
}
