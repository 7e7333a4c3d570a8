//! A log on a [`CrashFs`], driven by hand, beside a model of what it must hold.

use crate::vfs::CrashFs;
use crate::wal::{Error, Options, Recovered, Wal, WalEntry};
use bytes::Bytes;
use parking_lot::Mutex;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub(super) const DIR: &str = "/wal";
pub(super) const METADATA: Bytes = Bytes::from_static(b"cluster 1 member 2");

/// Small enough that a short script passes through many segments, steps and evictions.
pub(super) fn small_options() -> Options {
    Options {
        segment_bytes: 2500,
        allocate_bytes: 1024,
        cache_bytes: 600,
        no_fsync: false,
        salt_seed: 7,
        observer: None,
    }
}

/// What a log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) vote: Option<Bytes>,
    pub(super) purged: Option<(u64, Bytes)>,
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) entries: Vec<WalEntry>,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    /// Appends entries with payloads of these lengths.
    Append(Vec<usize>),
    /// Appends one entry so far beyond the end, if the log has no entries.
    Jump(u64),
    Vote(u8),
    /// Removes so many entries from the end.
    Truncate(u64),
    /// Purges so many entries from the front; may reach beyond the end.
    Purge(u64),
    /// Lets the writer write what waits.
    Write,
}

/// A log with its writer, its model, and every state that the model went through.
pub(super) struct Rig {
    pub(super) fs: CrashFs,
    pub(super) wal: Wal,
    writer: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
    pub(super) ended: Option<Result<(), Error>>,
    pub(super) model: Model,
    /// One state for each record, the first being the one at the opening.
    pub(super) history: Vec<Model>,
    /// States that the recovered log must not fall behind: the place in `history` of the last
    /// operation that was acknowledged.
    pub(super) acknowledged: Arc<Mutex<usize>>,
    pub(super) refused: Arc<Mutex<Vec<Error>>>,
    counter: u64,
}

impl Rig {
    pub(super) fn open(fs: &CrashFs, options: Options) -> Result<(Rig, Recovered), Error> {
        let vfs = Arc::new(fs.clone());
        let (wal, recovered, writer) = Wal::create_or_open(vfs, Path::new(DIR), METADATA, options)?;
        let model = dump(&wal, &recovered);
        let rig = Rig {
            fs: fs.clone(),
            wal,
            writer: Box::pin(writer.run()),
            ended: None,
            history: vec![model.clone()],
            model,
            acknowledged: Arc::default(),
            refused: Arc::default(),
            counter: 0,
        };
        Ok((rig, recovered))
    }

    /// Polls the writer until it waits or ends.
    pub(super) fn write(&mut self) {
        if self.ended.is_none()
            && let Poll::Ready(end) =
                self.writer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            self.ended = Some(end);
        }
    }

    /// A callback that notes what becomes of everything done so far.
    pub(super) fn done(&self) -> crate::wal::Done {
        let place = self.history.len() - 1;
        let (acknowledged, refused) = (Arc::clone(&self.acknowledged), Arc::clone(&self.refused));
        Box::new(move |result| match result {
            Ok(()) => {
                let mut last = acknowledged.lock();
                assert!(*last <= place, "acknowledged in order");
                *last = place;
            }
            Err(error) => refused.lock().push(error),
        })
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Append(lens) => self.append(lens),
            Op::Jump(by) => self.jump(*by),
            Op::Vote(vote) => {
                let vote = Bytes::from(vec![*vote; 24]);
                self.model.vote = Some(vote.clone());
                self.note();
                self.wal.save_vote(vote, self.done());
            }
            Op::Truncate(count) => self.truncate(*count),
            Op::Purge(count) => self.purge(*count),
            Op::Write => self.write(),
        }
    }

    fn note(&mut self) {
        self.history.push(self.model.clone());
    }

    pub(super) fn entry(&mut self, index: u64, len: usize) -> WalEntry {
        self.counter += 1;
        let fill = u8::try_from(self.counter % 251).unwrap();
        let log_id = Bytes::from(format!("{}/{index}", self.counter));
        WalEntry { index, log_id, payload: Bytes::from(vec![fill; len]) }
    }

    fn append(&mut self, lens: &[usize]) {
        let mut entries = Vec::new();
        for &len in lens {
            let entry = self.entry(self.model.next, len);
            self.model.next += 1;
            self.model.entries.push(entry.clone());
            self.note();
            entries.push(entry);
        }
        self.wal.append(entries, self.done());
    }

    fn jump(&mut self, by: u64) {
        if !self.model.entries.is_empty() || by == 0 {
            return;
        }
        self.model.next += by;
        self.model.first = self.model.next;
        self.note();
        self.append(&[3]);
    }

    fn truncate(&mut self, count: u64) {
        let count = count.min(self.model.entries.len() as u64);
        let next = self.model.next - count;
        if count > 0 {
            let kept = self.model.entries.len() - usize::try_from(count).unwrap();
            self.model.entries.truncate(kept);
            self.model.next = next;
            self.note();
        }
        if next > 0 || self.model.purged.is_none() {
            self.wal.truncate_after(next.checked_sub(1), self.done());
        }
    }

    fn purge(&mut self, count: u64) {
        let Some(index) = (self.model.first + count).checked_sub(1) else { return };
        let log_id = Bytes::from(format!("purged/{index}"));
        if self.model.purged.as_ref().is_none_or(|(purged, _)| *purged < index) {
            self.model.purged = Some((index, log_id.clone()));
            self.model.first = index + 1;
            self.model.next = self.model.next.max(index + 1);
            self.model.entries.retain(|entry| entry.index > index);
            self.note();
        }
        self.wal.purge(index, log_id, self.done());
    }

    /// Opens what a power failure left and checks it against the states between the last
    /// acknowledged and the last submitted one.
    pub(super) fn recover(&self, after: &CrashFs, options: Options) -> Result<Rig, String> {
        let (rig, recovered) = Rig::open(after, options).map_err(|error| error.to_string())?;
        let acknowledged = *self.acknowledged.lock();
        if !self.history[acknowledged..].contains(&rig.model) {
            return Err(format!(
                "recovered {:#?}\nacknowledged was {:#?}\nsubmitted was {:#?}",
                rig.model, self.history[acknowledged], self.model
            ));
        }
        assert_eq!(recovered.metadata, METADATA);
        Ok(rig)
    }
}

/// Reads a whole log, with small reads so that memory and disk are both asked.
pub(super) fn dump(wal: &Wal, recovered: &Recovered) -> Model {
    let (first, next) = (wal.first_index(), wal.next_index());
    let model = Model {
        vote: recovered.vote.clone(),
        purged: wal.purged(),
        first,
        next,
        entries: read_all(wal),
    };
    let last = model.entries.last().map(|entry| (entry.index, entry.log_id.clone()));
    assert_eq!(recovered.last, last.or(model.purged.clone()));
    assert_eq!(recovered.purged, model.purged);
    model
}

pub(super) fn read_all(wal: &Wal) -> Vec<WalEntry> {
    let (mut at, next) = (wal.first_index(), wal.next_index());
    let mut entries = Vec::new();
    while at < next {
        let chunk = wal.read(at, next, 1000).unwrap();
        at += chunk.len() as u64;
        entries.extend(chunk);
    }
    entries
}

/// A script of `len` operations, the same for the same seed.
pub(super) fn script(seed: u64, len: usize) -> Vec<Op> {
    let mut state = seed;
    let mut next = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut ops = Vec::new();
    while ops.len() < len {
        ops.push(match next(20) {
            0..=8 => {
                let count = 1 + next(4);
                Op::Append((0..count).map(|_| usize::try_from(next(400)).unwrap()).collect())
            }
            9..=10 => Op::Vote(u8::try_from(next(256)).unwrap()),
            11..=12 => Op::Truncate(next(5)),
            13..=14 => Op::Purge(next(12)),
            15 => Op::Jump(next(4)),
            _ => Op::Write,
        });
    }
    ops
}
