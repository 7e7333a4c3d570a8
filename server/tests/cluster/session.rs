//! One client that records what it does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader,
    TxnRequest,
};
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
        self.write(&[key.to_owned()]).await;
    }

    /// Writes two keys in one transaction: both or neither.
    pub(crate) async fn put_two(&mut self, key: &str) {
        self.write(&[key.to_owned(), format!("{key}/twin")]).await;
    }

    async fn write(&mut self, keys: &[String]) {
        let end = Instant::now() + Duration::from_secs(REQUEST_S_MAX);
        while Instant::now() < end {
            self.number += 1;
            let value = |at| format!("{}-{}-{at}", self.name, self.number).into_bytes();
            let values: Vec<Vec<u8>> = (0..keys.len()).map(value).collect();
            if self.try_write(keys, &values).await {
                return;
            }
        }
        self.book.fail(format!("{}: a write of {keys:?} never succeeded", self.name));
    }

    async fn try_write(&mut self, keys: &[String], values: &[Vec<u8>]) -> bool {
        let puts = keys.iter().zip(values).map(|(key, value)| put_op(key, value));
        let txn = TxnRequest { success: puts.collect(), ..Default::default() };
        let started = Instant::now();
        values.iter().for_each(|value| self.book.ledger.attempt(value));
        let mut kv = self.members[self.at].kv.clone();
        match deadline(kv.txn(txn)).await {
            Ok(answer) => {
                let revision = revision(answer.into_inner().header);
                self.book.timeline.wrote(&self.name, started, revision);
                for (key, value) in keys.iter().zip(values) {
                    self.book.ledger.acknowledge(key, revision, Some(value));
                }
                self.book.writes.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(refusal) => {
                values.iter().for_each(|value| self.book.timeline.wrote_perhaps(started, value));
                self.book.ledger.outcome_unknown();
                self.go_on(&refusal).await;
                false
            }
        }
    }

    /// Deletes a key, with one try: of a second it would not be known what it found.
    pub(crate) async fn delete(&mut self, key: &str) {
        let started = Instant::now();
        let request = DeleteRangeRequest { key: key.to_owned().into(), ..Default::default() };
        let mut kv = self.members[self.at].kv.clone();
        match deadline(kv.delete_range(request)).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                if answer.deleted == 1 {
                    let revision = revision(answer.header);
                    self.book.timeline.wrote(&self.name, started, revision);
                    self.book.ledger.acknowledge(key, revision, None);
                }
            }
            Err(refusal) => {
                self.book.ledger.outcome_unknown();
                self.go_on(&refusal).await;
            }
        }
    }

    /// Compacts up to a revision, with one try: a later one goes further.
    pub(crate) async fn compact(&mut self, upto: i64) {
        self.book.ledger.compacting(upto);
        let request = CompactionRequest { revision: upto, physical: false };
        let mut kv = self.members[self.at].kv.clone();
        match deadline(kv.compact(request)).await {
            // A try that seemed to have failed may have succeeded.
            Err(refusal) if refusal.code() != Code::OutOfRange => self.go_on(&refusal).await,
            _ => {}
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

fn put_op(key: &str, value: &[u8]) -> RequestOp {
    let put = PutRequest {
        key: key.to_owned().into(),
        value: value.to_vec().into(),
        ..Default::default()
    };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

fn revision(header: Option<ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
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
