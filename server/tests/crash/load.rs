//! The load: writers, a lease keeper and a compactor, until they are stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use testkit::{Clients, Follower, Ledger, Position, bounded, connect};
use tokio::task::JoinHandle;

const WRITERS: u64 = 6;
/// Each writer has keys of its own, few enough to be rewritten and deleted often.
const KEYS_PER_WRITER: u32 = 12;
/// How far behind the slowest watcher history is kept.
const REVISIONS_KEPT: i64 = 500;
/// How long a task waits after a failed call: the server is probably dead.
const PAUSE: Duration = Duration::from_millis(10);
/// Long enough never to expire within a run.
const LEASE_TTL_S: i64 = 3_600;

/// The running tasks.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(
        endpoint: &str,
        ledger: &Arc<Ledger>,
        followers: &[Follower],
        seed: u64,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = || Task {
            clients: connect(endpoint),
            ledger: Arc::clone(ledger),
            stop: Arc::clone(&stop),
        };
        let mut tasks: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(task().write(writer, seed * WRITERS + writer)))
            .collect();
        tasks.push(tokio::spawn(task().keep_leases()));
        tasks
            .push(tokio::spawn(task().compact(followers.iter().map(Follower::position).collect())));
        Self { stop, tasks }
    }

    /// Lets every task finish its call.
    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no task of the load panics");
        }
    }
}

struct Task {
    clients: Clients,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
}

impl Task {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn failed(&self) {
        self.ledger.outcome_unknown();
        tokio::time::sleep(PAUSE).await;
    }

    async fn write(mut self, writer: u64, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut number = 0_u64;
        while !self.stopped() {
            number += 1;
            let key = format!("load/{writer}/{}", random.random_range(0..KEYS_PER_WRITER));
            let value = format!("{writer}-{number}");
            match random.random_range(0..10) {
                0 => self.delete(&key).await,
                1..3 => self.put_two(&key, &value).await,
                _ => self.put(&key, &value).await,
            }
        }
    }

    async fn put(&mut self, key: &str, value: &str) {
        self.ledger.attempt(value.as_bytes());
        match bounded(self.clients.kv.put(put(key, value))).await {
            Ok(answer) => {
                let revision = revision(answer.into_inner().header);
                self.ledger.acknowledge(key, revision, Some(value.as_bytes()));
            }
            Err(_) => self.failed().await,
        }
    }

    /// Two keys in one revision: after a crash both are there, or neither.
    async fn put_two(&mut self, key: &str, value: &str) {
        let (twin, twin_value) = (format!("{key}/twin"), format!("{value}-twin"));
        self.ledger.attempt(value.as_bytes());
        self.ledger.attempt(twin_value.as_bytes());
        let op = |put| RequestOp { request: Some(Request::RequestPut(put)) };
        let success = vec![op(put(key, value)), op(put(&twin, &twin_value))];
        let txn = TxnRequest { success, ..Default::default() };
        match bounded(self.clients.kv.txn(txn)).await {
            Ok(answer) => {
                let revision = revision(answer.into_inner().header);
                self.ledger.acknowledge(key, revision, Some(value.as_bytes()));
                self.ledger.acknowledge(&twin, revision, Some(twin_value.as_bytes()));
            }
            Err(_) => self.failed().await,
        }
    }

    async fn delete(&mut self, key: &str) {
        let request = DeleteRangeRequest { key: key.to_owned().into(), ..Default::default() };
        match bounded(self.clients.kv.delete_range(request)).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                if answer.deleted == 1 {
                    self.ledger.acknowledge(key, revision(answer.header), None);
                }
            }
            Err(_) => self.failed().await,
        }
    }

    async fn keep_leases(mut self) {
        let mut granted = 0_u64;
        while !self.stopped() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let request = LeaseGrantRequest { ttl: LEASE_TTL_S, id: 0 };
            let Ok(answer) = bounded(self.clients.lease.lease_grant(request)).await else {
                continue;
            };
            let id = answer.into_inner().id;
            self.ledger.lease_granted(id);
            granted += 1;
            if granted.is_multiple_of(3) {
                self.ledger.lease_given_up(id);
                // Whether it happened does not matter: nothing is promised about it any more.
                let _ = bounded(self.clients.lease.lease_revoke(LeaseRevokeRequest { id })).await;
            }
        }
    }

    async fn compact(mut self, followers: Vec<Position>) {
        while !self.stopped() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let seen = followers.iter().map(Position::revision).min().unwrap_or_default();
            let revision = seen - REVISIONS_KEPT;
            if revision > self.ledger.compacted() {
                self.ledger.compacting(revision);
                let request = CompactionRequest { revision, physical: false };
                // Refused or cut off: a later round compacts further.
                let _ = bounded(self.clients.kv.compact(request)).await;
            }
        }
    }
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() }
}

fn revision(header: Option<ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}
