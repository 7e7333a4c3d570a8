//! What the product's opening makes of a disk after a power failure.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use api::etcdserverpb::RangeRequest;
use bytes::Bytes;
use futures::{FutureExt, stream};
use openraft::storage::{RaftStateMachine, StorageHelper};
use openraft::{AsyncRuntime, RaftLogReader};
use openraft_rt_tokio::TokioRuntime;
use store::Reader;
use store::engine::{CrashEngine, Engine};

use super::ledger::{Ledger, State, Stored};
use crate::behind::Behind;
use crate::codec;
use crate::forward::Waiters;
use crate::lessor::Lessor;
use crate::log_store::LogStore;
use crate::open::{self, Opened};
use crate::peer::Roster;
use crate::snapshot::SnapshotDir;
use crate::sole::Sole;
use crate::state_machine::{Parts, StateMachine};
use crate::types::{Entry, LogId, Types, Vote};
use crate::vfs::{CrashFs, CrashRule, Vfs};
use crate::wal::Wal;
use crate::{Config, EngineSource};

/// All that is on a disk.
#[derive(PartialEq)]
struct Image {
    files: BTreeMap<PathBuf, Arc<Vec<u8>>>,
    engine: Vec<(Bytes, Bytes)>,
}

impl Image {
    fn of(fs: &CrashFs, engine: &CrashEngine) -> Image {
        let mut contents = Vec::new();
        let mut take = |key: &[u8], value: &[u8]| {
            contents.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            ControlFlow::Continue(())
        };
        engine.scan(&[], &[u8::MAX], &mut take).expect("memory can be read");
        Image { files: fs.image(), engine: contents }
    }
}

/// What a start found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    /// Newest first.
    pub(super) snapshots: Vec<LogId>,
    /// The last entry of the state that engine, snapshot and log give.
    pub(super) reached: Option<LogId>,
    /// Of all that is in that state.
    hash: u32,
}

/// Recoveries of disks of one script. Most of what the rules leave of a point is the same, and the
/// same as before: each disk is recovered once, for two points.
pub(super) struct Recoveries<'a> {
    ledger: &'a Ledger,
    done: Vec<(Image, Found)>,
    /// Those of the point before.
    before: Vec<(Image, Found)>,
    /// How many went on from what the engine had.
    pub(super) continued: usize,
}

impl<'a> Recoveries<'a> {
    pub(super) fn new(ledger: &'a Ledger) -> Recoveries<'a> {
        Recoveries { ledger, done: Vec::new(), before: Vec::new(), continued: 0 }
    }

    /// What a start finds on `fs` with `engine`; and the one after it, if power fails again at once.
    ///
    /// # Errors
    /// It does not start, or finds what nobody wrote.
    pub(super) fn of(&mut self, fs: &CrashFs, engine: CrashEngine) -> Result<Found, String> {
        let image = Image::of(fs, &engine);
        if let Some(found) = self.seen(&image) {
            return Ok(found.clone());
        }
        let engine = Arc::new(engine);
        let found = recover(fs, &engine, self.ledger)?;
        let settled = (fs.crash(CrashRule::DropAll), engine.crash(engine.pending()));
        let settled_image = Image::of(&settled.0, &settled.1);
        if !image.engine.is_empty() && settled_image.engine == image.engine {
            self.continued += 1;
        }
        self.done.push((image, found.clone()));
        let again = match self.seen(&settled_image) {
            Some(again) => again.clone(),
            None => recover(&settled.0, &Arc::new(settled.1), self.ledger)?,
        };
        if again != found {
            return Err(format!("{found:?} was found, and after another failure {again:?}"));
        }
        Ok(found)
    }

    fn seen(&self, image: &Image) -> Option<&Found> {
        let mut all = self.done.iter().chain(&self.before);
        all.find_map(|(seen, found)| (seen == image).then_some(found))
    }

    pub(super) fn next_point(&mut self) {
        self.before = std::mem::take(&mut self.done);
    }
}

/// A small log, so that a script passes through many segments.
pub(super) fn config() -> Config {
    Config {
        snapshot_bytes_per_s_max: None,
        wal_segment_bytes: 2500,
        wal_allocate_bytes: 1024,
        wal_cache_bytes: 600,
        ..Config::new(PathBuf::from("/data"), 0xc1, 0x3e, Vec::new())
    }
}

/// As a start of the product opens its directories.
pub(super) fn open(vfs: Arc<dyn Vfs>, engines: Box<dyn EngineSource>) -> Result<Opened, String> {
    let opened = open::open(&config(), vfs, engines, 7);
    opened.map_err(|error| error.to_string())
}

/// What a start of the product makes of what was opened.
pub(super) struct Assembled {
    pub(super) wal: Wal,
    pub(super) log: LogStore,
    pub(super) machine: StateMachine<TokioRuntime>,
    pub(super) behind: Arc<Behind>,
    pub(super) snapshots: SnapshotDir,
}

pub(super) fn assemble(opened: Opened) -> Assembled {
    let Opened { wal, vote, store, engine, snapshots, .. } = opened;
    let durable = wal.clone();
    let behind = Arc::new(Behind::new(&store, Box::new(move || durable.durable_next_index())));
    let (_, publisher) = watch::Hub::new(store.reader(), watch::Options::default());
    let machine = StateMachine::new(Parts {
        store,
        engine,
        options: config().store,
        cluster_id: config().cluster_id,
        member_id: config().member_id,
        publisher,
        lessor: Lessor::new(2, None),
        on_applied: None,
        log_next: wal.next_index(),
        snapshot_log_bytes_min: u64::MAX,
        snapshots: snapshots.clone(),
        behind: behind.clone(),
        roster: Roster::default(),
        waiters: Waiters::new(0),
        sole: Sole::new(1),
    });
    Assembled {
        log: LogStore::new(wal.clone(), vote, Sole::new(1)),
        wal,
        machine,
        behind,
        snapshots,
    }
}

fn recover(fs: &CrashFs, engine: &Arc<CrashEngine>, ledger: &Ledger) -> Result<Found, String> {
    let mut opened = open(Arc::new(fs.clone()), Box::new(engine.clone()))?;
    if fs.pending() > 0 {
        return Err(format!("{} changes that it relies on are not durable", fs.pending()));
    }
    // Dropped, it would fail the log.
    let _writer = opened.take_writer();
    let vote = opened.vote;
    let Assembled { wal, mut log, mut machine, behind, snapshots } = assemble(opened);
    let log_id = |found: Option<(u64, Bytes)>| {
        let found = found.map(|(_, log_id)| codec::decode_log_id(&log_id)).transpose();
        found.map_err(|error| error.to_string())
    };
    let purged = log_id(wal.purged())?;
    let last = log_id(wal.last().map_err(|error| error.to_string())?)?;
    check_entries(&wal, last, ledger)?;
    let snapshots = whole(&snapshots, ledger)?;
    if purged.map(|it| it.index) > snapshots.first().map(|it| it.index) {
        return Err(format!("purged to {purged:?}, with the snapshots {snapshots:?}"));
    }
    let reached = start(&mut log, &mut machine)?;
    check_state(&behind.reader(), reached, ledger)?;
    let hash = behind.reader().hash().map_err(|error| error.to_string())?;
    Ok(Found { vote, purged, last, snapshots, reached, hash })
}

/// Each entry of the log is the one that was written before the last.
fn check_entries(wal: &Wal, last: Option<LogId>, ledger: &Ledger) -> Result<(), String> {
    let (first, next) = (wal.first_index(), wal.next_index());
    let entries = wal.read(first, next, usize::MAX).map_err(|error| error.to_string())?;
    if entries.len() as u64 != next - first {
        return Err(format!("{} entries from {first} to {next}", entries.len()));
    }
    let mut link = last.map(|last| ledger.known(last)).transpose()?;
    for entry in entries.iter().rev() {
        let written = link.ok_or_else(|| format!("nobody wrote entry {}", entry.index))?;
        let log_id = codec::encode_log_id(&written.log_id);
        let payload = codec::encode_payload(&written.payload);
        if (entry.index, &entry.log_id, &entry.payload) != (written.log_id.index, &log_id, &payload)
        {
            return Err(format!("entry {} is not {}", entry.index, written.log_id));
        }
        link = written.before.as_ref();
    }
    Ok(())
}

/// The log ids of all snapshots, each of which is what was written.
fn whole(snapshots: &SnapshotDir, ledger: &Ledger) -> Result<Vec<LogId>, String> {
    let mut log_ids = Vec::new();
    for file in snapshots.all() {
        let log_id = file.header().log_id().ok_or("a snapshot without a log id")?;
        let bytes = file.piece(0, 1 << 20).map_err(|error| error.to_string())?;
        if !ledger.is_snapshot(log_id, &bytes) {
            return Err(format!("the snapshot at {log_id} is not what was written"));
        }
        log_ids.push(log_id);
    }
    Ok(log_ids)
}

/// What openraft does first, and then all of the log, as if it were committed.
fn start(
    log: &mut LogStore,
    machine: &mut StateMachine<TokioRuntime>,
) -> Result<Option<LogId>, String> {
    let start = async {
        let mut helper = StorageHelper::<Types<TokioRuntime>, _, _>::new(log, machine).with_id(1);
        helper.get_initial_state().await.map_err(|error| error.to_string())?;
        let applied = machine.applied_state().await.map_err(|error| error.to_string())?.0;
        let rest = applied.map_or(0, |applied| applied.index + 1)..;
        let rest = RaftLogReader::<Types<TokioRuntime>>::try_get_log_entries(log, rest).await;
        let rest = rest.map_err(|error| error.to_string())?;
        apply(machine, rest).await.map_err(|error| error.to_string())?;
        Ok(machine.applied_state().await.map_err(|error| error.to_string())?.0)
    };
    start.now_or_never().expect("nothing waits when a member starts")
}

pub(super) async fn apply<R: AsyncRuntime>(
    machine: &mut StateMachine<R>,
    entries: Vec<Entry>,
) -> io::Result<()> {
    machine.apply(stream::iter(entries.into_iter().map(|entry| Ok((entry, None))))).await
}

fn check_state(reader: &Reader, at: Option<LogId>, ledger: &Ledger) -> Result<(), String> {
    let expected = match at {
        Some(log_id) => ledger.known(log_id)?.state.clone(),
        None => State::default(),
    };
    let all = RangeRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        ..RangeRequest::default()
    };
    let all = reader.range(None, &all).map_err(|error| error.to_string())?;
    let stored = all.kvs.into_iter().map(|kv| {
        let stored = Stored {
            value: kv.value,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
        };
        (kv.key, stored)
    });
    let found = State { revision: reader.revision(), keys: stored.collect() };
    if found == expected {
        Ok(())
    } else {
        Err(format!("at {at:?} the state is {found:?}, not {expected:?}"))
    }
}
