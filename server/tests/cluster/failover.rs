//! Members die under load.

use std::path::Path;
use std::time::Instant;

use api::etcdserverpb::PutRequest;
use testkit::{Clients, Cluster, Kind, bounded, env_number, eventually, subject};

use crate::workload::Load;

/// Enough for the gate; a full run has 50.
const KILLS_DEFAULT: u64 = 3;

/// Proves that killing the leader again and again loses no acknowledged write, that clients go
/// on, and that each killed member catches up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed_and_nothing_acknowledged_is_lost() {
    let kills = env_number("BERTH_CLUSTER_KILLS", KILLS_DEFAULT);
    let mut pauses_ms = Vec::new();
    let mut cluster = Cluster::start(subject!(), 3).await;
    let load = Load::start(&cluster);
    for _ in 0..kills {
        load.progress(50).await;
        let leader = cluster.leader().await;
        cluster.member_mut(leader).kill();
        let killed = Instant::now();
        load.progress(1).await;
        pauses_ms.push(killed.elapsed().as_millis());
        load.progress(50).await;
        assert_ne!(cluster.leader().await, leader, "a dead member leads");
        cluster.member_mut(leader).restart().await;
    }
    load.finish(&mut cluster).await;
    println!("from each kill to the next acknowledged write: {pauses_ms:?} ms");
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

/// Proves that a follower which was away for longer than the log reaches back catches up by a
/// snapshot, while the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_away_for_too_long_gets_a_snapshot() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let leader = cluster.leader().await;
    let follower = cluster.others(leader)[0];
    cluster.member_mut(follower).kill();
    let writers: Vec<_> = (0..BIG_WRITERS)
        .map(|writer| tokio::spawn(write_big(cluster.clients(leader), writer, BIG_WRITES)))
        .collect();
    for writer in writers {
        writer.await.expect("a healthy majority takes writes");
    }
    let mut load = Load::start(&cluster);
    if cluster.kind() == Kind::Berth {
        let log = cluster.member(leader).data_dir().join("wal");
        let mut written = WRITTEN_BYTES;
        // The later the first snapshot began, the more has to follow before the second is due.
        eventually("the leader purges its log", PURGED_S_MAX, async || {
            write_big(cluster.clients(leader), BIG_WRITERS, 1).await;
            written += BIG_BYTES as u64;
            let bytes = bytes_in(&log);
            if bytes < written { Ok(()) } else { Err(format!("{bytes} bytes are left")) }
        })
        .await;
    }
    cluster.member_mut(follower).restart().await;
    load.progress(50).await;
    load.stop().await;
    cluster.converged().await;
    // etcd counts entries, and keeps more of them than these.
    if cluster.kind() == Kind::Berth {
        let log = cluster.member(follower).log();
        assert!(log.contains("receiving a snapshot"), "the log reached back far enough");
    }
}

/// Together more than berth keeps of its log: it snapshots after 64 MiB or half of its state, and
/// keeps what follows the snapshot before the last.
const BIG_WRITERS: u32 = 4;
const BIG_WRITES: u32 = 64;
const BIG_BYTES: usize = 1 << 20;
const WRITTEN_BYTES: u64 = BIG_WRITERS as u64 * BIG_WRITES as u64 * BIG_BYTES as u64;
/// Two snapshots, which are written slowly so that nobody suffers.
const PURGED_S_MAX: u64 = 120;

/// The size of all files of a folder.
fn bytes_in(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).expect("the folder is there");
    // A file may be removed while we look.
    files.flatten().flat_map(|file| file.metadata()).map(|data| data.len()).sum()
}

async fn write_big(mut clients: Clients, writer: u32, writes: u32) {
    for number in 0..writes {
        let value = format!("{writer}-{number}-").into_bytes().repeat(BIG_BYTES / 4);
        let key = format!("big/{writer}").into();
        let put =
            PutRequest { key, value: value[..BIG_BYTES].to_vec().into(), ..Default::default() };
        bounded(clients.kv.put(put)).await.expect("a healthy majority takes writes");
    }
}
