//! Power failures at every operation on the directory of snapshots, with every rule for what was
//! not synced.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use api::berthpb::Command;
use api::berthpb::command::Op as StoreOp;
use api::etcdserverpb::PutRequest;
use store::engine::MemEngine;
use store::{Options, Position, Store};

use super::{SnapshotDir, SnapshotFile, SnapshotHeader};
use crate::types::{CommittedLeaderId, LogId, SnapshotMeta};
use crate::vfs::{CrashFs, CrashRule, Vfs};

const DIR: &str = "/snap";

/// What is done to the directory. A snapshot is known by its index.
#[derive(Clone, Copy, Debug)]
enum Op {
    Write(u64),
    /// One comes from another node in two pieces, and is adopted.
    Receive(u64),
    /// One comes in and nobody adopts it.
    Forget(u64),
    /// The newest turned out damaged.
    PutAside,
}

const SCRIPT: [Op; 14] = [
    Op::Write(5),
    Op::Write(9),
    Op::Write(20),
    Op::Receive(31),
    Op::Forget(33),
    Op::Receive(40),
    Op::Write(44),
    Op::PutAside,
    Op::Write(51),
    Op::Write(60),
    Op::PutAside,
    Op::PutAside,
    Op::Receive(72),
    Op::Write(80),
];

/// The bytes of each snapshot of the script.
type Contents = BTreeMap<u64, Vec<u8>>;

/// A directory until the power went, and what it had promised by then.
#[derive(Default)]
struct Run {
    fs: CrashFs,
    /// The newest that must be there.
    required: Option<u64>,
    /// How far the log was allowed to be purged.
    purged: Option<u64>,
    /// How many of those from there on were put aside since.
    put_aside: usize,
}

#[test]
fn a_power_failure_at_any_operation_leaves_whole_snapshots_and_the_newest() {
    // Proves: whatever the disk keeps of unsynced changes, the directory opens, lists nothing but
    // whole snapshots, has the newest that was acknowledged and all that a purge of the log relied
    // on, and goes on from there.
    let contents = contents();
    let operations = run_until(u64::MAX, &contents).fs.operations();
    assert!(operations > 60, "the script does too little: {operations}");
    let mut tried = 0;
    for halt_at in 0..=operations {
        let run = run_until(halt_at, &contents);
        for rule in CrashRule::for_pending(run.fs.pending()) {
            check(&run, &run.fs.crash(rule), &contents)
                .unwrap_or_else(|why| panic!("power cut at operation {halt_at}, {rule:?}: {why}"));
            tried += 1;
        }
    }
    assert!(tried > 800, "only {tried} failures were tried");
}

fn run_until(halt_at: u64, contents: &Contents) -> Run {
    let mut run = Run::default();
    run.fs.halt_at(halt_at);
    let Ok(dir) = open(&run.fs) else { return run };
    for op in SCRIPT {
        if run.step(&dir, op, contents).is_err() {
            break;
        }
    }
    run
}

impl Run {
    fn step(&mut self, dir: &SnapshotDir, op: Op, contents: &Contents) -> io::Result<()> {
        match op {
            Op::Write(index) => {
                let body = &contents[&index][header(index).encode().len()..];
                dir.write(&header(index), |out| out.write_all(body))?;
                self.acknowledged(dir, index);
            }
            Op::Receive(index) => {
                dir.adopt(&receive(dir, &contents[&index])?)?;
                self.acknowledged(dir, index);
            }
            Op::Forget(index) => drop(receive(dir, &contents[&index])?),
            Op::PutAside => {
                let all = dir.all();
                // From here on either may be found.
                self.required = all.get(1).and_then(SnapshotFile::index);
                self.put_aside += 1;
                dir.put_aside(&all[0])?;
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, dir: &SnapshotDir, index: u64) {
        self.required = Some(index);
        if let Some(purged) = dir.purge_to() {
            (self.purged, self.put_aside) = (Some(purged), 0);
        }
    }
}

fn receive(dir: &SnapshotDir, bytes: &[u8]) -> io::Result<SnapshotFile> {
    let mut incoming = dir.receive()?;
    let (head, rest) = bytes.split_at(700);
    incoming.write(head)?;
    incoming.write(rest)?;
    incoming.finish()
}

/// What a start finds after the power failure.
fn check(run: &Run, after: &CrashFs, contents: &Contents) -> Result<(), String> {
    let dir = open(after).map_err(|error| format!("it does not open: {error}"))?;
    let found = listed(&dir, contents)?;
    if found.first().copied() < run.required {
        return Err(format!("{:?} is gone, {found:?} are left", run.required));
    }
    if let Some(purged) = run.purged {
        let usable = found.iter().filter(|index| **index >= purged).count();
        if usable + run.put_aside < 2 {
            return Err(format!("the log goes back to {purged}, and {found:?} are left"));
        }
    }
    let names = after.read_dir(Path::new(DIR)).map_err(|error| error.to_string())?;
    if names.iter().any(|name| name.ends_with(".tmp")) {
        return Err(format!("something unfinished stays: {names:?}"));
    }
    if dir.purge_to().is_some_and(|upto| !found.contains(&upto)) {
        return Err(format!("the log may be purged to {:?}, of {found:?}", dir.purge_to()));
    }
    check_usable(after, dir, &found, contents)
}

/// What was found is durable, and another snapshot can be written to it.
fn check_usable(
    after: &CrashFs,
    dir: SnapshotDir,
    found: &[u64],
    contents: &Contents,
) -> Result<(), String> {
    let again = open(&after.crash(CrashRule::DropAll)).map_err(|error| error.to_string())?;
    if listed(&again, contents)? != found {
        return Err(format!("{found:?} were found, and lost by a second failure"));
    }
    let body = &contents[&99][header(99).encode().len()..];
    dir.write(&header(99), |out| out.write_all(body)).map_err(|error| error.to_string())?;
    drop(dir);
    let again = open(&after.crash(CrashRule::DropAll)).map_err(|error| error.to_string())?;
    let newest = listed(&again, contents)?.first().copied();
    (newest == Some(99)).then_some(()).ok_or_else(|| format!("99 was lost, {newest:?} is newest"))
}

/// The indexes of all, newest first; an error if one is not what was written.
fn listed(dir: &SnapshotDir, contents: &Contents) -> Result<Vec<u64>, String> {
    let mut indexes = Vec::new();
    for file in dir.all() {
        let index = file.index().ok_or("one without an index is listed")?;
        let bytes = file.piece(0, 1 << 20).map_err(|error| error.to_string())?;
        if bytes != contents[&index] {
            return Err(format!("{index} is listed and not what was written"));
        }
        indexes.push(index);
    }
    Ok(indexes)
}

fn open(fs: &CrashFs) -> io::Result<SnapshotDir> {
    SnapshotDir::open(Arc::new(fs.clone()), DIR.into(), None)
}

fn header(index: u64) -> SnapshotHeader {
    let log_id = LogId { leader_id: CommittedLeaderId::new(3), index };
    let meta = SnapshotMeta { last_log_id: Some(log_id), ..SnapshotMeta::default() };
    SnapshotHeader { cluster_id: 77, meta }
}

/// For each snapshot a state of its own, of several sectors: one that is received is verified.
fn contents() -> Contents {
    let indexes = SCRIPT.into_iter().filter_map(|op| match op {
        Op::Write(index) | Op::Receive(index) | Op::Forget(index) => Some(index),
        Op::PutAside => None,
    });
    indexes.chain([99]).map(|index| (index, content(index))).collect()
}

fn content(index: u64) -> Vec<u8> {
    let mut store = Store::open(Arc::new(MemEngine::new()), Options::default()).unwrap();
    let value = format!("{index} ").repeat(600).into();
    let put = PutRequest { key: "key".into(), value, ..PutRequest::default() };
    let position = Position { index, term: 4, log_id: vec![7].into() };
    let command = Command { op: Some(StoreOp::Put(put)), ..Command::default() };
    store.apply(position, &command).result.unwrap();
    let mut bytes = header(index).encode();
    let mut out: &mut dyn Write = &mut bytes;
    store.snapshot().write_to(&mut out).unwrap();
    bytes
}
