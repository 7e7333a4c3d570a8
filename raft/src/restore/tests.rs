//! From a node's backup to directories that nodes start from.

use std::fs::{self, File};
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::berthpb::{Command, command::Op};
use api::etcdserverpb::{LeaseGrantRequest, Member, PutRequest, RangeRequest};
use openraft_rt_tokio::TokioRuntime;
use sha2::{Digest, Sha256};
use store::engine::{Engine, MemEngine};

use super::backup::Source;
use super::{BackupSummary, Plan, build, inspect, restore};
use crate::codec;
use crate::open::{self, Opened};
use crate::vfs::{CrashFs, CrashRule, RealFs};
use crate::{Config, EngineSource, Error, InitialMember, Node};

type TestNode = Node<TokioRuntime>;

const KEYS: usize = 100;

fn members(count: u64) -> Vec<InitialMember> {
    let member = |n| InitialMember {
        id: 0x100 + n,
        name: format!("m{n}"),
        peer_urls: vec![format!("http://127.0.0.1:{n}")],
    };
    (1..=count).map(member).collect()
}

fn config(plan: &Plan) -> Config {
    let (data_dir, members) = (plan.data_dir.clone(), plan.members.clone());
    Config {
        wal_dir: plan.wal_dir.clone(),
        ..Config::new(data_dir, plan.cluster_id, plan.member_id, members)
    }
}

fn plan(data_dir: PathBuf, member: u64, count: u64) -> Plan {
    Plan {
        incarnation: 40 + member,
        cluster_id: 0xc2,
        member_id: 0x100 + member,
        members: members(count),
        wal_dir: data_dir.join("wal"),
        data_dir,
        bump_revision: 0,
        mark_compacted: false,
        skip_hash_check: false,
    }
}

async fn apply(node: &TestNode, op: Op) {
    let applied = node.propose(Command { op: Some(op), ..Command::default() }).await.unwrap();
    applied.result.unwrap();
}

async fn put(node: &TestNode, key: &str, lease: i64) {
    let (key, value) = (key.to_owned().into(), "value".into());
    apply(node, Op::Put(PutRequest { key, value, lease, ..PutRequest::default() })).await;
}

fn keys(reader: &store::Reader) -> i64 {
    let all = RangeRequest { key: "k".into(), range_end: "l".into(), ..RangeRequest::default() };
    reader.range(None, &all).unwrap().count
}

/// A backup of another cluster's member with [`KEYS`] keys, the first of them under lease 7.
async fn backup(dir: &Path) -> PathBuf {
    let old = Config::new(
        dir.join("old"),
        0xc1,
        5,
        vec![InitialMember { id: 5, name: "old".into(), peer_urls: vec!["http://old".into()] }],
    );
    let node = TestNode::start(old).await.unwrap();
    apply(&node, Op::LeaseGrant(LeaseGrantRequest { id: 7, ttl: 1000 })).await;
    let member = Some(Member { id: 5, name: "old".into(), ..Member::default() });
    apply(&node, Op::PublishMember(api::berthpb::PublishMember { member, incarnation: 1 })).await;
    for key in 0..KEYS {
        put(&node, &format!("k{key}"), if key == 0 { 7 } else { 0 }).await;
    }
    let mut file = Vec::new();
    node.backup().await.unwrap().write_to(&mut file).unwrap();
    node.shutdown().await;
    let path = dir.join("backup");
    fs::write(&path, finished(file)).unwrap();
    path
}

/// With zeros and checksum, as the server streams it.
fn finished(mut file: Vec<u8>) -> Vec<u8> {
    file.resize(file.len().next_multiple_of(512), 0);
    let digest = Sha256::digest(&file);
    file.extend_from_slice(&digest);
    file
}

fn message(outcome: Result<BackupSummary, Error>) -> String {
    match outcome {
        Err(Error::Refused(message)) => message,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_serves_what_was_saved() {
    // Proves that a node starts from the restored directory, has keys, revision and leases, knows
    // the new membership alone, and goes on writing, also after a restart.
    let temp = tempfile::tempdir().unwrap();
    let file = backup(temp.path()).await;
    let plan = plan(temp.path().join("new"), 1, 1);
    let summary = restore(&file, &plan).unwrap();
    assert_eq!(summary.revision, 1 + KEYS as i64);
    assert_eq!(summary, inspect(&file).unwrap());
    assert_eq!(summary.bytes, fs::metadata(&file).unwrap().len());
    for start in 0..2 {
        let node = TestNode::start(config(&plan)).await.unwrap();
        assert_eq!(keys(&node.reader()), KEYS as i64 + start);
        assert_eq!(node.reader().revision(), 1 + KEYS as i64 + start);
        assert_eq!(node.reader().lease(7).unwrap().keys, 1);
        assert!(node.reader().members().is_empty(), "of the old cluster");
        let membership = node.reader().membership();
        let membership = codec::decode_stored_membership(membership.as_deref()).unwrap();
        assert_eq!(membership.voter_ids().collect::<Vec<_>>(), [0x101]);
        put(&node, &format!("knew{start}"), 0).await;
        node.shutdown().await;
    }
}

/// The engine in memory, empty.
struct Fresh;

impl EngineSource for Fresh {
    fn open(&mut self) -> io::Result<Arc<dyn Engine>> {
        Ok(Arc::new(MemEngine::new()))
    }

    fn destroy(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All of what a member begins with that the others must have too.
fn beginning(opened: &Opened) -> String {
    let reader = opened.store.reader();
    format!(
        "log {:?} to {:?}, vote {:?}, snapshot {:?}, state {:?} at {:?} of {:?}",
        opened.wal.purged(),
        opened.wal.last().unwrap(),
        opened.vote,
        opened.snapshots.newest().unwrap().header(),
        reader.hash(),
        reader.position(),
        reader.membership(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_begin_alike() {
    // Proves that three restores of one file open with the same log, vote, snapshot and state, and
    // that all three members are voters in it.
    let temp = tempfile::tempdir().unwrap();
    let file = backup(temp.path()).await;
    let begin = |member: u64| {
        let plan = plan(temp.path().join(format!("m{member}")), member, 3);
        restore(&file, &plan).unwrap();
        let opened = open::open(&config(&plan), Arc::new(RealFs), Box::new(Fresh), 7).unwrap();
        let meta = opened.snapshots.newest().unwrap().meta().clone();
        let log_id = meta.last_log_id.unwrap();
        assert_eq!(*meta.last_membership.log_id(), Some(log_id));
        let voters: Vec<u64> = meta.last_membership.voter_ids().collect();
        assert_eq!(voters, [0x101, 0x102, 0x103]);
        assert_eq!(opened.vote.unwrap().leader_id.term, log_id.leader_id.term);
        assert_eq!(opened.wal.next_index(), log_id.index + 1);
        assert_eq!(keys(&opened.store.reader()), KEYS as i64);
        beginning(&opened)
    };
    let [first, second, third] = [1, 2, 3].map(begin);
    assert_eq!(first, second);
    assert_eq!(first, third);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_refused_and_nothing_is_written() {
    // Proves that each kind of damage is told from the others, and leaves no directory.
    let temp = tempfile::tempdir().unwrap();
    let good = fs::read(backup(temp.path()).await).unwrap();
    let path = temp.path().join("bad");
    let into = temp.path().join("to");
    fs::create_dir(&into).unwrap();
    let plan = plan(into.join("new"), 1, 1);
    let refuse = |bytes: &[u8], expected: &str| {
        fs::write(&path, bytes).unwrap();
        let message = message(restore(&path, &plan));
        assert!(message.contains(expected), "{message}");
        assert_eq!(fs::read_dir(&into).unwrap().count(), 0, "{message}");
    };
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let len = good.len();
    refuse(&[], "is cut short");
    refuse(&good[..40], "is cut short");
    refuse(&good[..len / 2], "is cut short");
    refuse(&good[..len - 1], "the SHA-256 at its end is not whole");
    refuse(&flipped(0), "is no backup of berth");
    refuse(&flipped(30), "is no backup of berth, or damaged");
    refuse(&flipped(len / 2), "is damaged (damaged snapshot: the checksum of a block is wrong)");
    refuse(&flipped(len - 1), "hash mismatch");
    refuse(&flipped(len - 33), "hash mismatch");
    refuse(&[&good[..], b"more"].concat(), "hash mismatch");
    let mut bbolt = vec![0; 4096];
    bbolt[16..20].copy_from_slice(&0xed0c_daed_u32.to_le_bytes());
    refuse(&bbolt, "`berth snapshot import` converts it");
    assert!(message(inspect(&path)).contains("bbolt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_without_its_hash_is_taken_when_told_so() {
    // Proves --skip-hash-check: a snapshot file out of a data directory restores, a damaged one
    // does not.
    let temp = tempfile::tempdir().unwrap();
    let file = backup(temp.path()).await;
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes[..bytes.len() - 32].iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end);
    // The trailer may end with zeros.
    let ends = (end..end + 4).map(|len| [&bytes[..], &vec![0; len - end]].concat());
    let whole = ends.into_iter().find(|bytes| {
        fs::write(&file, bytes).unwrap();
        inspect(&file).is_ok()
    });
    fs::write(&file, whole.unwrap()).unwrap();
    let strict = plan(temp.path().join("new"), 1, 1);
    assert!(message(restore(&file, &strict)).contains("--skip-hash-check"));
    let lenient = Plan { skip_hash_check: true, ..strict.clone() };
    restore(&file, &lenient).unwrap();
    bytes[end / 2] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let elsewhere = Plan { skip_hash_check: true, ..plan(temp.path().join("other"), 1, 1) };
    assert!(message(restore(&file, &elsewhere)).contains("checksum of a block"));
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_in_use_are_left_alone() {
    // Proves that neither directory may hold anything, that an empty one may exist, and that what
    // an interrupted restore left is refused by a server and cleared by the next restore.
    let temp = tempfile::tempdir().unwrap();
    let file = backup(temp.path()).await;
    let dir = |name: &str| temp.path().join(name);
    let split = |data: &str, wal: &str| Plan { wal_dir: dir(wal), ..plan(dir(data), 1, 1) };
    fs::create_dir_all(dir("full/inner")).unwrap();
    assert!(message(restore(&file, &split("full", "w"))).contains("--data-dir"));
    assert!(message(restore(&file, &split("d", "full"))).contains("--wal-dir"));
    assert!(message(restore(&file, &split("d", "d"))).contains("another directory"));
    assert!(!dir("d").exists() && !dir("w").exists());

    // What a killed restore leaves, next to both directories.
    for left in ["d.restoring/snap", "w.restoring", "empty/.restoring/wal"] {
        fs::create_dir_all(dir(left)).unwrap();
    }
    for left in
        ["d.restoring/restore.lock", "d.restoring/snap/1.tmp", "empty/.restoring/restore.lock"]
    {
        File::create(dir(left)).unwrap();
    }
    for unfinished in [split("d", "w"), split("empty", "w")] {
        let refused = TestNode::start(config(&unfinished)).await.err().unwrap();
        assert!(refused.to_string().contains("did not come to its end"), "{refused}");
    }
    fs::create_dir(dir("emptywal")).unwrap();
    for plan in [split("d", "w"), split("empty", "empty/wal"), split("d2", "emptywal")] {
        restore(&file, &plan).unwrap();
        let node = TestNode::start(config(&plan)).await.unwrap();
        assert_eq!(keys(&node.reader()), KEYS as i64);
        node.shutdown().await;
    }
    let names = fs::read_dir(temp.path()).unwrap().chain(fs::read_dir(dir("empty")).unwrap());
    let left = names.filter(|name| {
        let name = name.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".restoring")
    });
    assert_eq!(left.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_built_is_durable_when_it_gets_its_name() {
    // Proves that no failure of the disk goes unnoticed, and that after a success a power failure
    // takes nothing: the staging directory needs no sync before it is renamed.
    let temp = tempfile::tempdir().unwrap();
    let file = fs::read(backup(temp.path()).await).unwrap();
    let plan = plan(PathBuf::from("/staging"), 1, 1);
    let run = |fs: &CrashFs| {
        let source = Source::read(Path::new("f"), Box::new(Cursor::new(file.clone()))).unwrap();
        build::build(Arc::new(fs.clone()), source, &plan)
    };
    let fs = CrashFs::new();
    run(&fs).unwrap();
    let operations = fs.operations();
    let fs = fs.crash(CrashRule::DropAll);
    let opened = open::open(&config(&plan), Arc::new(fs), Box::new(Fresh), 7).unwrap();
    assert_eq!(keys(&opened.store.reader()), KEYS as i64);
    assert!(operations > 10, "{operations}");
    for nth in 0..operations {
        let fs = CrashFs::new();
        fs.fail_at(nth);
        let refused = message(run(&fs));
        assert!(refused.contains("injected"), "operation {nth}: {refused}");
    }
}
