//! What the handles and the writer share: the log as the callers see it, the queue between them,
//! and the log as it is written.

use super::error::{Error, ErrorKind};
use super::index::Index;
use super::options::{BATCH_BYTES_MAX, LOG_ID_BYTES_MAX, RECORD_BYTES_MAX};
use super::recent::Recent;
use super::record::padded_len;
use super::segment::Segments;
use super::{Done, Stats, WalEntry};
use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use std::collections::VecDeque;

pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Wakes the writer.
    pub(super) waker: AtomicWaker,
}

/// What a caller asks for.
#[derive(Debug)]
pub(super) enum Request {
    Append(Vec<WalEntry>),
    Vote(Bytes),
    /// The log ends before this index.
    Next(u64),
    Purge(u64, Bytes),
}

/// A request in the queue.
pub(super) struct Operation {
    pub(super) request: Request,
    /// Bytes of its records.
    pub(super) bytes: usize,
    pub(super) done: Option<Done>,
}

pub(super) struct State {
    /// The log as the callers see it, with all that waits.
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) purged: Option<(u64, Bytes)>,
    pub(super) recent: Recent,
    /// What waits for the writer, and how many operations were ever accepted.
    pub(super) queue: VecDeque<Operation>,
    pub(super) accepted: u64,
    /// The log as it is written, without what waits, and how many operations that is.
    pub(super) written: u64,
    pub(super) index: Index,
    pub(super) segments: Segments,
    pub(super) stats: Stats,
    pub(super) failed: Option<Error>,
    pub(super) closed: bool,
}

impl State {
    pub(super) fn new(index: Index, segments: Segments) -> State {
        State {
            first: index.floor,
            next: index.next(),
            purged: index.purged.clone(),
            recent: Recent::default(),
            queue: VecDeque::new(),
            accepted: 0,
            written: 0,
            index,
            segments,
            stats: Stats::default(),
            failed: None,
            closed: false,
        }
    }

    /// Takes a request: its effect is visible at once, and it waits in the queue for the writer,
    /// which tells `done`. A refused request changes nothing and gives `done` back.
    pub(super) fn accept(&mut self, request: Request, done: Done) -> Result<(), (Error, Done)> {
        if let Err(error) = self.check(&request) {
            return Err((error, done));
        }
        match request {
            Request::Append(entries) => self.append(entries),
            Request::Vote(vote) => self.enqueue(padded_len(vote.len()), Request::Vote(vote)),
            Request::Next(next) => self.truncate(next),
            Request::Purge(index, log_id) => self.purge(index, log_id),
        }
        let last = self.queue.back_mut().expect("every accepted request was queued");
        last.done = Some(done);
        Ok(())
    }

    fn check(&self, request: &Request) -> Result<(), Error> {
        self.check_alive()?;
        let refused = |why: String| Err(Error::new(ErrorKind::Refused, why));
        match request {
            Request::Append(entries) => self.check_entries(entries),
            Request::Vote(vote) if vote.len() > RECORD_BYTES_MAX => {
                refused(format!("a vote of {} bytes is too large", vote.len()))
            }
            Request::Next(next) if self.is_purged(*next) => {
                refused(format!("a truncation to {next} reaches behind the purge mark"))
            }
            Request::Purge(index, _) if *index == u64::MAX => {
                refused("a purge of every index".to_owned())
            }
            Request::Purge(_, log_id) if log_id.len() > LOG_ID_BYTES_MAX => {
                refused(format!("a log id of {} bytes is too large", log_id.len()))
            }
            _ => Ok(()),
        }
    }

    /// Fails if the log was poisoned or closed.
    pub(super) fn check_alive(&self) -> Result<(), Error> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.closed => Err(Error::new(ErrorKind::Stopped, "the log is closed")),
            None => Ok(()),
        }
    }

    fn check_entries(&self, entries: &[WalEntry]) -> Result<(), Error> {
        let Some(first) = entries.first() else { return Ok(()) };
        let empty_there = self.first == self.next && !self.is_purged(first.index);
        let start = if empty_there { first.index } else { self.next };
        for (entry, next) in entries.iter().zip(start..=u64::MAX) {
            if entry.index != next || next == u64::MAX {
                let why = format!("entry {} does not follow: {next} is next", entry.index);
                return Err(Error::new(ErrorKind::Refused, why));
            }
            let bytes = entry.log_id.len() + entry.payload.len();
            if bytes > RECORD_BYTES_MAX || entry.log_id.len() > LOG_ID_BYTES_MAX {
                let why = format!("entry {} of {bytes} bytes is too large", entry.index);
                return Err(Error::new(ErrorKind::Refused, why));
            }
        }
        Ok(())
    }

    fn is_purged(&self, index: u64) -> bool {
        self.purged.as_ref().is_some_and(|(purged, _)| index <= *purged)
    }

    /// Queues entries, in several operations if they are more than one write should carry.
    fn append(&mut self, entries: Vec<WalEntry>) {
        if let Some(first) = entries.first()
            && first.index != self.next
        {
            self.go_on_at(first.index);
        }
        let mut part = Vec::with_capacity(entries.len());
        let mut part_bytes = 0;
        for entry in entries {
            let bytes = padded_len(entry.log_id.len() + entry.payload.len());
            if part_bytes + bytes > BATCH_BYTES_MAX && !part.is_empty() {
                self.enqueue(part_bytes, Request::Append(std::mem::take(&mut part)));
                part_bytes = 0;
            }
            self.next = entry.index + 1;
            self.recent.push(entry.clone(), self.accepted + 1);
            part_bytes += bytes;
            part.push(entry);
        }
        self.enqueue(part_bytes, Request::Append(part));
    }

    fn truncate(&mut self, next: u64) {
        if next >= self.next {
            return self.enqueue(0, Request::Append(Vec::new()));
        }
        self.go_on_at(next);
    }

    /// Ends the log before `next`, or lets a log without entries begin there.
    fn go_on_at(&mut self, next: u64) {
        self.recent.truncate(next);
        self.first = if next > self.next { next } else { self.first.min(next) };
        self.next = next;
        self.enqueue(padded_len(0), Request::Next(next));
    }

    fn purge(&mut self, index: u64, log_id: Bytes) {
        if self.is_purged(index) {
            return self.enqueue(0, Request::Append(Vec::new()));
        }
        self.first = self.first.max(index + 1);
        self.next = self.next.max(self.first);
        self.recent.purge(self.first);
        self.purged = Some((index, log_id.clone()));
        self.enqueue(padded_len(log_id.len()), Request::Purge(index, log_id));
    }

    fn enqueue(&mut self, bytes: usize, request: Request) {
        self.accepted += 1;
        self.queue.push_back(Operation { request, bytes, done: None });
    }

    /// Poisons the log; the first failure stays. What waited is given back to be told.
    pub(super) fn fail(&mut self, error: &Error) -> VecDeque<Operation> {
        self.failed.get_or_insert_with(|| error.clone());
        std::mem::take(&mut self.queue)
    }
}
