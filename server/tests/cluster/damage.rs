//! A member whose log was damaged while it was stopped, and how it is built anew.

use std::path::PathBuf;

use api::etcdserverpb::{HashKvRequest, PutRequest};
use testkit::{Cluster, Kind, Member, Script, bounded, eventually, skipped, subject};

use crate::membership::CHANGE_S_MAX;

const KEYS: usize = 100;

/// Proves that a member with a damaged log refuses in one line that names the file and says what
/// to do, that the cluster goes on meanwhile, and that the command of the documentation builds the
/// member anew from the others: all of them hold the same afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_a_damaged_log_refuses_and_is_replaced() {
    if subject!().kind == Kind::Etcd {
        return skipped("a damaged log", "the log that is damaged is berth's");
    }
    let mut cluster = Cluster::start(subject!(), 3).await;
    let leader = cluster.leader().await;
    write(&cluster, leader, "before").await;
    let victim = cluster.others(leader)[0];
    let old = cluster.id(victim).await;
    assert!(cluster.member_mut(victim).terminate().success());
    let segment = flip_bit(cluster.member(victim));
    write(&cluster, leader, "meanwhile").await;

    cluster.member_mut(victim).launch();
    assert!(!cluster.member_mut(victim).wait_end().await.success());
    let log = cluster.member(victim).log();
    let told = log.lines().filter(|line| line.contains("cannot go on")).collect::<Vec<_>>();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains(&*segment.to_string_lossy()), "{}", told[0]);
    assert!(told[0].contains("add it again with an empty data directory"), "{}", told[0]);
    assert!(!log.contains("panicked"), "{log}");

    replace(&cluster, victim, old).await;
    let member = cluster.member_mut(victim);
    std::fs::rename(member.data_dir(), member.data_dir().with_extension("damaged"))
        .expect("the data can be moved");
    member.birth.state = "existing";
    member.restart().await;
    assert_ne!(cluster.id(victim).await, old, "an id was used again");
    write(&cluster, victim, "after").await;
    eventually("all members hold the same", CHANGE_S_MAX, async || {
        let mut hashes = Vec::new();
        for at in 0..cluster.len() {
            let mut maintenance = cluster.clients(at).maintenance;
            let hash = bounded(maintenance.hash_kv(HashKvRequest::default())).await;
            let hash = hash.map_err(|refusal| refusal.to_string())?.into_inner();
            hashes.push((hash.hash, hash.hash_revision, hash.compact_revision));
        }
        let equal = hashes.iter().all(|hash| *hash == hashes[0]);
        equal.then_some(()).ok_or_else(|| format!("{hashes:?}"))
    })
    .await;
}

async fn write(cluster: &Cluster, at: usize, prefix: &str) {
    let mut kv = cluster.clients(at).kv;
    for n in 0..KEYS {
        let (key, value) = (format!("{prefix}/{n}").into(), vec![b'v'; 10 * n].into());
        let put = PutRequest { key, value, ..PutRequest::default() };
        bounded(kv.put(put)).await.expect("a majority is there");
    }
}

/// Changes one bit in the middle of what was written to the log's last segment.
fn flip_bit(member: &Member) -> PathBuf {
    let entries = std::fs::read_dir(member.data_dir().join("wal")).expect("there is a log");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let segments = paths.filter(|path| path.extension().is_some_and(|kind| kind == "wal"));
    let segment = segments.max().expect("there is a segment");
    let mut bytes = std::fs::read(&segment).expect("the segment can be read");
    let written = bytes.iter().rposition(|&byte| byte != 0).expect("it is not empty");
    bytes[written / 2] ^= 1;
    std::fs::write(&segment, bytes).expect("the segment can be written");
    segment
}

/// The first half of `docs/internals/damage.md`'s command.
async fn replace(cluster: &Cluster, victim: usize, old: u64) {
    let member = cluster.member(victim);
    let others = cluster.others(victim).into_iter().map(|at| cluster.member(at).endpoint());
    let endpoints = format!("--endpoints={}", others.collect::<Vec<_>>().join(","));
    let id = format!("{old:x}");
    let urls = format!("--peer-urls={}", member.place.advertised_peer_url());
    let commands = [
        vec!["ctl", &endpoints, "member", "remove", &id],
        vec!["ctl", &endpoints, "member", "add", &member.name, &urls],
    ];
    for arguments in commands {
        // Members are changed only when all that should be there have been for a while.
        eventually(&format!("{arguments:?}"), CHANGE_S_MAX, async || {
            let done = Script::new(&subject!().path, &arguments).run().await;
            (done.code == Some(0)).then_some(()).ok_or(done.stderr)
        })
        .await;
    }
}
