//! What the services count of their own work, under etcd's names. What is counted on every call is
//! looked up once, here.

use std::sync::Arc;
use std::time::Instant;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    exponential_buckets,
};

use super::{NAMES_ARE_VALID, register};

/// What clients say that they speak. Others count as `other`: a label that a client can choose would
/// be memory that a client can fill.
const VERSIONS: [&str; 10] = ["3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9"];
/// etcd's name of those that say nothing.
const UNKNOWN: &str = "unknown";
const OTHER: &str = "other";

/// How a call goes: with one message each way, or with more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    Unary,
    Stream,
}

/// What all services share. Clones are one.
#[derive(Clone)]
pub struct ServiceMetrics(Arc<Inner>);

struct Inner {
    unary: Requests,
    streams: Requests,
    read_indexes_slow: IntCounter,
    read_indexes_failed: IntCounter,
    events_sent: IntCounter,
    promoted: IntCounter,
    promotions_failed: IntCounterVec,
    defragments: Histogram,
    defragmenting: IntGauge,
    snapshots: Histogram,
    hashes: Histogram,
    hashes_of_revisions: Histogram,
}

impl ServiceMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let counter = |name, help| registered(registry, IntCounter::new(name, help));
        let counters = |name, help: &str, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let seconds = |name, help: &str, shortest: f64, buckets| {
            let buckets = exponential_buckets(shortest, 2.0, buckets).expect(NAMES_ARE_VALID);
            let opts = HistogramOpts::new(name, help).buckets(buckets);
            registered(registry, Histogram::with_opts(opts))
        };
        let requests = counters(
            "etcd_server_client_requests_total",
            "The total number of client requests per client version.",
            &["type", "client_api_version"],
        );
        Self(Arc::new(Inner {
            unary: Requests::new(&requests, "unary"),
            streams: Requests::new(&requests, "stream"),
            read_indexes_slow: counter(
                "etcd_server_slow_read_indexes_total",
                "The total number of pending read indexes not in sync with leader's or timed out \
                 read index requests.",
            ),
            read_indexes_failed: counter(
                "etcd_server_read_indexes_failed_total",
                "The total number of failed read indexes seen.",
            ),
            events_sent: counter(
                "etcd_debugging_mvcc_events_total",
                "Total number of events sent by this member.",
            ),
            promoted: counter(
                "etcd_server_learner_promote_successes",
                "The total number of successful learner promotions while this member is leader.",
            ),
            promotions_failed: counters(
                "etcd_server_learner_promote_failures",
                "The total number of failed learner promotions (likely learner not ready) while \
                 this member is leader.",
                &["Reason"],
            ),
            defragments: seconds(
                "etcd_disk_backend_defrag_duration_seconds",
                "The latency distribution of backend defragmentation.",
                // etcd's: 100 ms to 409 s.
                0.1,
                13,
            ),
            defragmenting: registered(
                registry,
                IntGauge::new(
                    "etcd_disk_defrag_inflight",
                    "Whether or not defrag is active on the member. 1 means active, 0 means not.",
                ),
            ),
            snapshots: seconds(
                "etcd_disk_backend_snapshot_duration_seconds",
                "The latency distribution of backend snapshots.",
                // etcd's: 10 ms to 655 s.
                0.01,
                17,
            ),
            hashes: seconds(
                "etcd_mvcc_hash_duration_seconds",
                "The latency distribution of storage hash operation.",
                // etcd's: 10 ms to 163 s.
                0.01,
                15,
            ),
            hashes_of_revisions: seconds(
                "etcd_mvcc_hash_rev_duration_seconds",
                "The latency distribution of storage hash by revision operation.",
                0.01,
                15,
            ),
        }))
    }

    /// A call came; `version` is what its metadata says of the client.
    pub fn requested(&self, kind: CallKind, version: Option<&[u8]>) {
        let requests = match kind {
            CallKind::Unary => &self.0.unary,
            CallKind::Stream => &self.0.streams,
        };
        requests.of(version).inc();
    }

    /// A read waited in vain for its place in the log.
    pub fn read_index_failed(&self, error: &raft::Error) {
        match error {
            raft::Error::Timeout => self.0.read_indexes_slow.inc(),
            // Nothing failed.
            raft::Error::Stopped => {}
            _ => self.0.read_indexes_failed.inc(),
        }
    }

    pub fn sent_events(&self, count: usize) {
        if count > 0 {
            self.0.events_sent.inc_by(count as u64);
        }
    }

    pub fn promoted(&self) {
        self.0.promoted.inc();
    }

    /// `reason`: one of the texts that the server has for it.
    pub fn promotion_failed(&self, reason: &str) {
        self.0.promotions_failed.with_label_values(&[reason]).inc();
    }

    /// Until it is dropped.
    pub fn defragmenting(&self) -> Defragmenting {
        self.0.defragmenting.inc();
        Defragmenting { metrics: self.0.clone(), began: Instant::now() }
    }

    /// A backup went out whole, in that time.
    pub fn sent_snapshot(&self, began: Instant) {
        self.0.snapshots.observe(began.elapsed().as_secs_f64());
    }

    pub fn hashed(&self, began: Instant) {
        self.0.hashes.observe(began.elapsed().as_secs_f64());
    }

    pub fn hashed_revision(&self, began: Instant) {
        self.0.hashes_of_revisions.observe(began.elapsed().as_secs_f64());
    }
}

/// A defragmentation under way.
pub struct Defragmenting {
    metrics: Arc<Inner>,
    began: Instant,
}

impl Drop for Defragmenting {
    fn drop(&mut self) {
        self.metrics.defragmenting.dec();
        self.metrics.defragments.observe(self.began.elapsed().as_secs_f64());
    }
}

/// Calls of one kind, by what the client says that it speaks.
struct Requests {
    /// In the order of [`VERSIONS`].
    known: [IntCounter; VERSIONS.len()],
    unknown: IntCounter,
    other: IntCounter,
}

impl Requests {
    fn new(family: &IntCounterVec, kind: &str) -> Self {
        let of = |version: &str| family.with_label_values(&[kind, version]);
        Self { known: VERSIONS.map(of), unknown: of(UNKNOWN), other: of(OTHER) }
    }

    fn of(&self, version: Option<&[u8]>) -> &IntCounter {
        match version {
            None => &self.unknown,
            Some(&[b'3', b'.', minor @ b'0'..=b'9']) => &self.known[usize::from(minor - b'0')],
            Some(_) => &self.other,
        }
    }
}

fn registered<C>(registry: &Registry, collector: prometheus::Result<C>) -> C
where
    C: prometheus::core::Collector + Clone + 'static,
{
    let collector = collector.expect(NAMES_ARE_VALID);
    register(registry, &collector);
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_counted_by_what_they_say() {
        // Proves that each version counts as itself, and that a client cannot make series of its own.
        let registry = Registry::new();
        let metrics = ServiceMetrics::new(&registry);
        let series = || registry.gather().iter().map(|family| family.get_metric().len()).sum();
        let before: usize = series();
        for version in [None, Some("3.0"), Some("3.4"), Some("3.4"), Some("3.10")] {
            metrics.requested(CallKind::Unary, version.map(str::as_bytes));
        }
        metrics.requested(CallKind::Stream, Some(b"made up"));
        assert_eq!(before, series());
        let unary = &metrics.0.unary;
        assert_eq!(VERSIONS.iter().map(|it| unary.of(Some(it.as_bytes())).get()).sum::<u64>(), 3);
        assert_eq!((unary.of(Some(b"3.4")).get(), unary.of(None).get()), (2, 1));
        assert_eq!((unary.other.get(), metrics.0.streams.other.get()), (1, 1));
    }

    #[test]
    fn only_what_failed_counts_as_failed() {
        // Proves that a read that took too long is slow, and that an end is neither.
        let metrics = ServiceMetrics::new(&Registry::new());
        for error in [raft::Error::Timeout, raft::Error::Stopped, raft::Error::NoLeader] {
            metrics.read_index_failed(&error);
        }
        assert_eq!(metrics.0.read_indexes_slow.get(), 1);
        assert_eq!(metrics.0.read_indexes_failed.get(), 1);
    }
}
