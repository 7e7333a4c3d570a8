//! One client that records what it does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::etcdserverpb::{PutRequest, RangeRequest};
use testkit::{Clients, Ledger, Timeline, connect};
use tonic::{Code, Status};

use crate::flaws;

/// The deadline of each try, as a careful application sets it.
const TRY_S_MAX: u64 = 2;
/// A request that has not been answered after this time, however often it was tried, has failed.
const REQUEST_S_MAX: u64 = 40;
/// What the official clients wait between tries.
const BACKOFF: Duration = Duration::from_millis(25);

/// What all clients of a run did.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub ledger: Ledger,
    pub timeline: Timeline,
    /// Answers that no client should ever get.
    failures: Mutex<Vec<String>>,
    /// Answers of members that want the client to try again.
    refusals: Mutex<Vec<String>>,
    writes: AtomicU64,
    retries: AtomicU64,
}

impl Book {
    /// How many writes were acknowledged so far.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// How often a try failed in a way that allows another.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// What failed for good, in words.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().expect("no holder panics").clone()
    }

    /// What members refused although another try was allowed, in words. A connection that broke is
    /// no refusal.
    pub(crate) fn refusals(&self) -> Vec<String> {
        self.refusals.lock().expect("no holder panics").clone()
    }

    fn refused(&self, refusal: String) {
        self.refusals.lock().expect("no holder panics").push(refusal);
    }

    fn fail(&self, failure: String) {
        self.failures.lock().expect("no holder panics").push(failure);
    }
}

/// A client that knows all members and speaks to one of them at a time; after a failure that
/// allows it, it tries the next, as the official clients do.
pub(crate) struct Session {
    name: String,
    members: Vec<Clients>,
    at: usize,
    number: u64,
    book: Arc<Book>,
}

impl Session {
    /// A client that begins at the member `first`.
    pub(crate) fn new(name: String, endpoints: &[String], first: usize, book: Arc<Book>) -> Self {
        let members = endpoints.iter().map(|endpoint| connect(endpoint)).collect();
        Self { name, members, at: first % endpoints.len(), number: 0, book }
    }

    /// Writes a value that nobody else ever writes. Every try has its own.
    pub(crate) async fn put(&mut self, key: &str) {
        let end = Instant::now() + Duration::from_secs(REQUEST_S_MAX);
        while Instant::now() < end {
            self.number += 1;
            let value = format!("{}-{}", self.name, self.number);
            if self.try_put(key, value.as_bytes()).await {
                return;
            }
        }
        self.book.fail(format!("{}: a put of {key} never succeeded", self.name));
    }

    async fn try_put(&mut self, key: &str, value: &[u8]) -> bool {
        let request = PutRequest {
            key: key.to_owned().into(),
            value: value.to_vec().into(),
            ..Default::default()
        };
        let started = Instant::now();
        self.book.ledger.attempt(value);
        let mut kv = self.members[self.at].kv.clone();
        match deadline(kv.put(request)).await {
            Ok(answer) => {
                let revision = answer.into_inner().header.map_or(0, |header| header.revision);
                self.book.timeline.wrote(&self.name, started, revision);
                self.book.ledger.acknowledge(key, revision, Some(value));
                self.book.writes.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(refusal) => {
                self.book.timeline.wrote_perhaps(started, value);
                self.book.ledger.outcome_unknown();
                self.go_on(&refusal).await;
                false
            }
        }
    }

    /// Reads a key, linearizably.
    pub(crate) async fn get(&mut self, key: &str) {
        let end = Instant::now() + Duration::from_secs(REQUEST_S_MAX);
        while Instant::now() < end {
            let started = Instant::now();
            let request = RangeRequest { key: key.to_owned().into(), ..Default::default() };
            let mut kv = self.members[self.at].kv.clone();
            match deadline(kv.range(request)).await {
                Ok(answer) => {
                    self.book.timeline.read(&self.name, started, key, answer.get_ref());
                    return;
                }
                Err(refusal) => self.go_on(&refusal).await,
            }
        }
        self.book.fail(format!("{}: a read of {key} never succeeded", self.name));
    }

    /// After a failed try: to the next member, unless the failure forbids another try.
    async fn go_on(&mut self, refusal: &Status) {
        let words = format!("{} at m{}: {refusal}", self.name, self.at + 1);
        if !is_transient(refusal) {
            self.book.fail(words);
        } else if !is_broken(refusal) {
            self.book.refused(words);
        }
        self.book.retries.fetch_add(1, Ordering::Relaxed);
        self.at = (self.at + 1) % self.members.len();
        tokio::time::sleep(BACKOFF).await;
    }
}

async fn deadline<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let limit = Duration::from_secs(TRY_S_MAX);
    // What the official clients make of a member that does not answer.
    let late = |_| Err(Status::unavailable("no answer in time, says the client"));
    tokio::time::timeout(limit, call).await.unwrap_or_else(late)
}

/// Whether the official clients try again: the server says `Unavailable`, or the connection broke
/// (which gRPC in Go reports as `Unavailable`, and tonic as various codes with their source).
pub(crate) fn is_transient(refusal: &Status) -> bool {
    let unavailable = refusal.code() == Code::Unavailable;
    unavailable || is_broken(refusal) || flaws::excuse(refusal.message())
}

/// Whether the connection failed, and no member said anything.
fn is_broken(refusal: &Status) -> bool {
    std::error::Error::source(refusal).is_some()
}
