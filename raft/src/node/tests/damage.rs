//! A stopped member whose files were damaged: it says so or it has everything, never less.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::berthpb::Command;
use api::berthpb::command::Op;
use api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest,
};
use api::mvccpb::KeyValue;
use store::{HashKv, LeaseInfo, Reader};
use tokio::time::timeout;

use super::cluster::SOON;
use super::home::{Home, TestNode, process, put};
use crate::{Config, Error, Node};

/// How many damages are tried: enough for the gate to hit each file in each way. `BERTH_DAMAGES`
/// says another number.
const DAMAGES_DEFAULT: usize = 100;
const SEED: u64 = 42;
/// So that each life but the first begins with a snapshot.
const SNAPSHOT_LOG_BYTES: u64 = 64 << 10;
const SEGMENT_BYTES: u64 = 160 << 10;
const LIVES: usize = 4;
const KEYS: usize = 150;
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// One thing that happens to one file.
#[derive(Clone, Debug)]
enum Damage {
    FlipBit { at: usize, bit: u8 },
    Zero(Range<usize>),
    Truncate(usize),
    Remove,
}

/// All that clients can be told of.
#[derive(Debug, PartialEq)]
struct Served {
    hash: u32,
    hash_kv: HashKv,
    leases: Vec<LeaseInfo>,
    /// At a few revisions, the compacted one and the last among them.
    ranges: Vec<Vec<KeyValue>>,
}

/// What became of a damaged member.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused,
    Whole,
    /// The start or a read failed in one line; after the next start all was there.
    WholeAfterRestart,
}

#[test]
fn damage_to_any_file_of_a_stopped_member_is_told_or_harmless() {
    // Proves: whatever one bit, block, end or file is lost after a clean stop, the next start
    // refuses in one line that says where and what to do, or serves every key, revision and lease.
    let count = std::env::var("BERTH_DAMAGES").map_or(DAMAGES_DEFAULT, |n| n.parse().unwrap());
    let member = tempfile::tempdir().unwrap();
    let before = fill(member.path());
    let files = files_of(member.path());
    let segments = files.iter().filter(|file| file.extension().is_some_and(|e| e == "wal")).count();
    let snapshots = files.iter().filter(|file| file.extension().is_some_and(|e| e == "snap"));
    assert!(segments >= 2 && snapshots.count() == 2, "{files:?}");
    let mut outcomes = std::collections::BTreeMap::new();
    let mut faults = Vec::new();
    for (file, damage) in damages(member.path(), &files, count) {
        let copy = tempfile::tempdir().unwrap();
        copy_all(member.path(), copy.path());
        let kind = kind_of(&file);
        inflict(&copy.path().join(&file), &damage);
        match outcome(copy.path(), &before) {
            Ok(outcome) => *outcomes.entry((kind, outcome)).or_insert(0) += 1,
            Err(fault) => faults.push(format!("{} {damage:?}: {fault}", file.display())),
        }
    }
    println!("{outcomes:?}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(outcomes.contains_key(&("wal".to_owned(), Outcome::Refused)), "{outcomes:?}");
}

fn config(home: &Path) -> Config {
    let mut config = Home::new().config;
    config.wal_dir = home.join("wal");
    config.data_dir = home.to_owned();
    config.snapshot_log_bytes_min = SNAPSHOT_LOG_BYTES;
    config.wal_segment_bytes = SEGMENT_BYTES;
    config.wal_allocate_bytes = 32 << 10;
    config
}

/// A few lives with a clean end, and what the last of them served.
fn fill(home: &Path) -> Served {
    let mut served = None;
    for life in 0..LIVES {
        process().block_on(async {
            let node: TestNode = Node::start(config(home)).await.unwrap();
            if life > 0 {
                next_snapshot(&node, life).await;
            }
            write(&node, life).await;
            served = Some(read(&node.reader()).unwrap());
            node.shutdown().await;
        });
    }
    served.unwrap()
}

/// The one that is due at a start.
async fn next_snapshot(node: &TestNode, life: usize) {
    let least = u64::try_from(life * KEYS).unwrap();
    let taken = async {
        while node.status().snapshot_index < least || (life > 1 && node.status().purged_index == 0)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, taken).await.unwrap_or_else(|_| panic!("no snapshot: {:?}", node.status()));
}

async fn write(node: &TestNode, life: usize) {
    let lease = i64::try_from(life).unwrap() + 7;
    propose(node, Op::LeaseGrant(LeaseGrantRequest { id: lease, ttl: 100_000 })).await;
    for n in (0..KEYS).chain(0..KEYS) {
        let len = if n % 10 == 0 { 5000 } else { 20 + 17 * (n % 50) };
        let value = format!("{life}-{n}-").repeat(len / 6);
        let lease = if n % 7 == 0 { lease } else { 0 };
        // All are written twice, and most again by the next life: the log must outgrow the state.
        let key = if n % 5 == 1 { format!("k{life}-{n}") } else { format!("again{n}") };
        let put = PutRequest { key: key.into(), value: value.into(), lease, ..Default::default() };
        propose(node, Op::Put(put)).await;
    }
    for n in (1..KEYS).step_by(25) {
        let key = format!("k{life}-{n}").into();
        propose(node, Op::DeleteRange(DeleteRangeRequest { key, ..Default::default() })).await;
    }
    let revision = node.reader().revision() - i64::try_from(KEYS / 2).unwrap();
    propose(node, Op::Compact(CompactionRequest { revision, physical: false })).await;
}

async fn propose(node: &TestNode, op: Op) {
    let applied = node.propose(Command { op: Some(op), ..Command::default() }).await.unwrap();
    applied.result.unwrap();
}

fn read(reader: &Reader) -> Result<Served, store::Error> {
    let (first, last) = (reader.compact_revision(), reader.revision());
    let all = |revision| {
        let (key, range_end) = (vec![0].into(), vec![0].into());
        let request = RangeRequest { key, range_end, revision, ..RangeRequest::default() };
        reader.range(None, &request).map(|answer| answer.kvs)
    };
    let revisions = [first, first + 1, i64::midpoint(first, last), last - 1, last];
    Ok(Served {
        hash: reader.hash()?,
        hash_kv: reader.hash_kv(0)?,
        leases: reader.leases(),
        ranges: revisions.into_iter().map(all).collect::<Result<_, _>>()?,
    })
}

/// Starts the damaged member; `Err` if it served something else or said nothing of use.
fn outcome(home: &Path, before: &Served) -> Result<Outcome, String> {
    let process = process();
    let outcome = process.block_on(async {
        match timeout(ANSWER_MAX, Node::start(config(home))).await {
            Err(_) => Err("the start hangs".to_owned()),
            Ok(Err(Error::Refused(line))) => check_refusal(&line, home).map(|()| Outcome::Refused),
            Ok(Err(Error::Fatal(line))) => check_failure(&line, home, before).await,
            Ok(Err(error)) => Err(format!("not a refusal: {error}")),
            Ok(Ok(node)) => check_served(node, home, before).await,
        }
    });
    process.shutdown_background();
    outcome
}

fn check_refusal(line: &str, home: &Path) -> Result<(), String> {
    let is_one = !line.contains('\n') && !line.contains("panic");
    let names = line.contains(home.to_str().unwrap());
    let advises = line.contains("empty data directory") || line.contains("this berth");
    (is_one && names && advises).then_some(()).ok_or_else(|| format!("an unclear line: {line}"))
}

/// The start found the engine unusable on the way, and the next one has to make it anew.
async fn check_failure(line: &str, home: &Path, before: &Served) -> Result<Outcome, String> {
    if line.contains('\n') || !line.contains("start berth again") {
        return Err(format!("an unclear line: {line}"));
    }
    let again = timeout(ANSWER_MAX, Node::start(config(home))).await.map_err(|_| "it hangs")?;
    let node: TestNode = again.map_err(|error| format!("{line}; and again {error}"))?;
    let served = read(&node.reader()).map_err(|error| error.to_string())?;
    node.shutdown().await;
    let is_whole = served == *before;
    is_whole.then_some(Outcome::WholeAfterRestart).ok_or_else(|| differs(&served, before))
}

async fn check_served(node: TestNode, home: &Path, before: &Served) -> Result<Outcome, String> {
    let first = match read(&node.reader()) {
        Ok(served) if served == *before => Outcome::Whole,
        Ok(served) => return Err(differs(&served, before)),
        Err(_) => Outcome::WholeAfterRestart,
    };
    // A member that cannot read its engine finds that out at the next write at the latest.
    let written = match timeout(ANSWER_MAX, node.propose(put("more", "more"))).await {
        Err(_) => return Err("a write hangs".to_owned()),
        Ok(written) => written.is_ok_and(|applied| applied.result.is_ok()),
    };
    timeout(ANSWER_MAX, node.shutdown()).await.map_err(|_| "it does not stop")?;
    drop(node);
    let node: TestNode = timeout(ANSWER_MAX, Node::start(config(home)))
        .await
        .map_err(|_| "the second start hangs")?
        .map_err(|error| format!("the second start: {error}"))?;
    let again = read(&node.reader()).map_err(|error| format!("read at second start: {error}"))?;
    let revision = again.hash_kv.hash_revision - before.hash_kv.hash_revision;
    let last = &again.ranges[again.ranges.len() - 1 - usize::try_from(revision).unwrap()];
    node.shutdown().await;
    let is_whole = Some(last) == before.ranges.last() && again.leases == before.leases;
    if !is_whole || (written && revision != 1) || !(0..=1).contains(&revision) {
        return Err(format!("after a second start, {}", differs(&again, before)));
    }
    Ok(first)
}

fn differs(served: &Served, before: &Served) -> String {
    let lens = |served: &Served| served.ranges.iter().map(Vec::len).collect::<Vec<_>>();
    format!(
        "it serves {:?} {:?} with {} leases, not {:?} {:?} with {}",
        served.hash_kv,
        lens(served),
        served.leases.len(),
        before.hash_kv,
        lens(before),
        before.leases.len()
    )
}

/// `count` damages: for every file those that hit its edges, then others at random, in turn.
fn damages(home: &Path, files: &[PathBuf], count: usize) -> Vec<(PathBuf, Damage)> {
    let mut dice = Dice(SEED);
    let mut all = Vec::new();
    for file in files {
        let bytes = std::fs::read(home.join(file)).unwrap();
        all.extend(at_edges(&bytes).into_iter().map(|damage| (file.clone(), damage)));
    }
    // So that few damages still reach all files.
    for place in (1..all.len()).rev() {
        all.swap(place, dice.below(place + 1));
    }
    all.truncate(count.div_ceil(2));
    let of_size = |file: &&PathBuf| std::fs::metadata(home.join(file)).unwrap().len() > 0;
    let sized: Vec<&PathBuf> = files.iter().filter(of_size).collect();
    for nth in all.len()..count {
        let file = sized[nth % sized.len()];
        let bytes = std::fs::read(home.join(file)).unwrap();
        all.push((file.clone(), at_random(&bytes, &mut dice)));
    }
    all
}

/// Damage to the first and last bytes, and to where what was written ends.
fn at_edges(bytes: &[u8]) -> Vec<Damage> {
    let mut edges = vec![Damage::Remove];
    let Some(last) = bytes.iter().rposition(|&byte| byte != 0) else { return edges };
    let places = [0, 8, 12, 20, 40, 88, 120, last.saturating_sub(40), last, bytes.len() - 1];
    let places = places.into_iter().filter(|at| *at < bytes.len());
    edges.extend(places.map(|at| Damage::FlipBit { at, bit: u8::try_from(at % 8).unwrap() }));
    for block in [512, 4096] {
        let start = last / block * block;
        edges.push(Damage::Zero(0..block.min(bytes.len())));
        edges.push(Damage::Zero(start..(start + block).min(bytes.len())));
        edges.push(Damage::Truncate(start));
    }
    edges.extend([0, 16, bytes.len() / 2, last].map(Damage::Truncate));
    edges
}

/// Where something was written: the zeros behind it are of no interest.
fn at_random(bytes: &[u8], dice: &mut Dice) -> Damage {
    let written = bytes.iter().rposition(|&byte| byte != 0).map_or(1, |last| last + 1);
    let at = dice.below(written);
    match dice.below(6) {
        0..=2 => Damage::FlipBit { at, bit: u8::try_from(dice.below(8)).unwrap() },
        3 => Damage::Zero(at / 512 * 512..(at / 512 * 512 + 512).min(bytes.len())),
        4 => Damage::Zero(at / 4096 * 4096..(at / 4096 * 4096 + 4096).min(bytes.len())),
        _ => Damage::Truncate(at),
    }
}

fn inflict(file: &Path, damage: &Damage) {
    if matches!(damage, Damage::Remove) {
        return std::fs::remove_file(file).unwrap();
    }
    let mut bytes = std::fs::read(file).unwrap();
    match damage {
        Damage::FlipBit { at, bit } => bytes[*at] ^= 1 << bit,
        Damage::Zero(range) => bytes[range.clone()].fill(0),
        Damage::Truncate(len) => bytes.truncate(*len),
        Damage::Remove => {}
    }
    std::fs::write(file, bytes).unwrap();
}

/// Relative to `home`, sorted.
fn files_of(home: &Path) -> Vec<PathBuf> {
    let (mut files, mut dirs) = (Vec::new(), vec![home.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                files.push(path.strip_prefix(home).unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

/// The directory that a file lies in.
fn kind_of(file: &Path) -> String {
    file.components().next().unwrap().as_os_str().to_string_lossy().into_owned()
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir(&copy).unwrap();
            copy_all(&path, &copy);
        } else {
            std::fs::copy(&path, &copy).unwrap();
        }
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % count
    }
}
