//! `etcd_network_*`: what goes to and fro between members, each under its id in hexadecimal.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, exponential_buckets,
};

use super::{NAMES_ARE_VALID, register};

/// Members that are told apart. Senders name themselves, and must not be able to fill the memory
/// with names; what is above is counted together, as from member 0.
const MEMBERS_MAX: usize = 64;

/// What all members share. Clones are one.
#[derive(Clone)]
pub struct PeerMetrics(Arc<Families>);

struct Families {
    local: String,
    known: Mutex<BTreeSet<u64>>,
    active: IntGaugeVec,
    disconnected: IntCounterVec,
    sent_bytes: IntCounterVec,
    received_bytes: IntCounterVec,
    sent_failures: IntCounterVec,
    received_failures: IntCounterVec,
    round_trips: HistogramVec,
    snapshots_sent: Snapshots,
    snapshots_received: Snapshots,
}

impl PeerMetrics {
    /// For the member with that id.
    pub(super) fn new(registry: &Registry, local: u64) -> Self {
        let both = &["Local", "Remote"];
        let counters = |name, help, labels: &[&str]| counters(registry, name, help, labels);
        Self(Arc::new(Families {
            local: format!("{local:x}"),
            known: Mutex::default(),
            active: gauges(
                registry,
                "etcd_network_active_peers",
                "The current number of active peer connections.",
                both,
            ),
            disconnected: counters(
                "etcd_network_disconnected_peers_total",
                "The total number of disconnected peers.",
                both,
            ),
            sent_bytes: counters(
                "etcd_network_peer_sent_bytes_total",
                "The total number of bytes sent to peers.",
                &["To"],
            ),
            received_bytes: counters(
                "etcd_network_peer_received_bytes_total",
                "The total number of bytes received from peers.",
                &["From"],
            ),
            sent_failures: counters(
                "etcd_network_peer_sent_failures_total",
                "The total number of send failures from peers.",
                &["To"],
            ),
            received_failures: counters(
                "etcd_network_peer_received_failures_total",
                "The total number of receive failures from peers.",
                &["From"],
            ),
            round_trips: histograms(
                registry,
                "etcd_network_peer_round_trip_time_seconds",
                "Round-Trip-Time histogram between peers",
                "To",
                // etcd's: 0.1 ms to 3.3 s.
                exponential_buckets(0.0001, 2.0, 16).expect(NAMES_ARE_VALID),
            ),
            snapshots_sent: Snapshots::new(registry, "send", "To"),
            snapshots_received: Snapshots::new(registry, "receive", "From"),
        }))
    }

    /// The counters of one member.
    pub fn member(&self, id: u64) -> MemberCounters {
        let mut known = self.0.known.lock();
        let told_apart = known.contains(&id) || (known.len() < MEMBERS_MAX && known.insert(id));
        let id = format!("{:x}", if told_apart { id } else { 0 });
        // An alert needs to see the first failure as a step, not as where a series begins.
        for failures in [&self.0.sent_failures, &self.0.received_failures] {
            failures.with_label_values(&[&id]);
        }
        self.0.round_trips.with_label_values(&[&id]);
        MemberCounters { families: self.0.clone(), id }
    }
}

/// What is counted for one other member. Clones count together.
#[derive(Clone)]
pub struct MemberCounters {
    families: Arc<Families>,
    id: String,
}

impl MemberCounters {
    /// As members are named everywhere, in hexadecimal.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn sent(&self, bytes: usize) {
        self.families.sent_bytes.with_label_values(&[&self.id]).inc_by(bytes as u64);
    }

    pub fn received(&self, bytes: usize) {
        self.families.received_bytes.with_label_values(&[&self.id]).inc_by(bytes as u64);
    }

    pub fn send_failed(&self) {
        self.families.sent_failures.with_label_values(&[&self.id]).inc();
    }

    pub fn receive_failed(&self) {
        self.families.received_failures.with_label_values(&[&self.id]).inc();
    }

    pub fn round_trip(&self, time: Duration) {
        let histogram = self.families.round_trips.with_label_values(&[&self.id]);
        histogram.observe(time.as_secs_f64());
    }

    pub fn set_active(&self, active: bool) {
        self.families.active.with_label_values(&self.pair()).set(i64::from(active));
    }

    pub fn disconnected(&self) {
        self.families.disconnected.with_label_values(&self.pair()).inc();
    }

    /// A snapshot begins to go to this member.
    pub fn sending_snapshot(&self) -> SnapshotUnderWay {
        SnapshotUnderWay::begin(&self.families.snapshots_sent, &self.id)
    }

    /// A snapshot begins to come from this member.
    pub fn receiving_snapshot(&self) -> SnapshotUnderWay {
        SnapshotUnderWay::begin(&self.families.snapshots_received, &self.id)
    }

    fn pair(&self) -> [&str; 2] {
        [&self.families.local, &self.id]
    }
}

/// Snapshots in one direction.
#[derive(Clone)]
struct Snapshots {
    under_way: IntGaugeVec,
    succeeded: IntCounterVec,
    failed: IntCounterVec,
    seconds: HistogramVec,
}

impl Snapshots {
    /// `way`: `send` or `receive`.
    fn new(registry: &Registry, way: &str, label: &str) -> Self {
        let name = |end: &str| format!("etcd_network_snapshot_{way}_{end}");
        Self {
            under_way: gauges(
                registry,
                &name("inflights_total"),
                &format!("Total number of inflight snapshot {way}s"),
                &[label],
            ),
            succeeded: counters(
                registry,
                &name("success"),
                &format!("Total number of successful snapshot {way}s"),
                &[label],
            ),
            failed: counters(
                registry,
                &name("failures"),
                &format!("Total number of snapshot {way} failures"),
                &[label],
            ),
            seconds: histograms(
                registry,
                &name("total_duration_seconds"),
                &format!("Total latency distributions of v3 snapshot {way}s"),
                label,
                // etcd's: 100 ms to 51 s.
                exponential_buckets(0.1, 2.0, 10).expect(NAMES_ARE_VALID),
            ),
        }
    }
}

/// One snapshot; it has failed if it is dropped without having succeeded.
pub struct SnapshotUnderWay {
    snapshots: Snapshots,
    id: String,
    began: Instant,
    succeeded: bool,
}

impl SnapshotUnderWay {
    fn begin(snapshots: &Snapshots, id: &str) -> Self {
        snapshots.under_way.with_label_values(&[id]).inc();
        Self {
            snapshots: snapshots.clone(),
            id: id.to_owned(),
            began: Instant::now(),
            succeeded: false,
        }
    }

    pub fn succeeded(mut self) {
        self.succeeded = true;
    }
}

impl Drop for SnapshotUnderWay {
    fn drop(&mut self) {
        let id = &[self.id.as_str()];
        self.snapshots.under_way.with_label_values(id).dec();
        if self.succeeded {
            self.snapshots.succeeded.with_label_values(id).inc();
            let seconds = self.began.elapsed().as_secs_f64();
            self.snapshots.seconds.with_label_values(id).observe(seconds);
        } else {
            self.snapshots.failed.with_label_values(id).inc();
        }
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let counters = IntCounterVec::new(Opts::new(name, help), labels).expect(NAMES_ARE_VALID);
    register(registry, &counters);
    counters
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let gauges = IntGaugeVec::new(Opts::new(name, help), labels).expect(NAMES_ARE_VALID);
    register(registry, &gauges);
    gauges
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
    buckets: Vec<f64>,
) -> HistogramVec {
    let opts = HistogramOpts::new(name, help).buckets(buckets);
    let histograms = HistogramVec::new(opts, &[label]).expect(NAMES_ARE_VALID);
    register(registry, &histograms);
    histograms
}
