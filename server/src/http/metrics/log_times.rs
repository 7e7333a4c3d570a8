//! How long the log's writes and syncs take: the first thing to look at on a slow disk.

use std::time::Instant;

use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts, Registry, exponential_buckets};

use super::NAMES_ARE_VALID;

pub(super) struct LogTimes {
    /// When the step under way began. The log's writer is one thread, so there is one.
    began: Mutex<Instant>,
    writes: Histogram,
    syncs: Histogram,
}

impl LogTimes {
    pub(super) fn new(registry: &Registry) -> Self {
        let histogram = |name: &str, help: &str| {
            // etcd's: 1 ms to 8 s.
            let buckets = exponential_buckets(0.001, 2.0, 14).expect(NAMES_ARE_VALID);
            let opts = HistogramOpts::new(name, help).buckets(buckets);
            let histogram = Histogram::with_opts(opts).expect(NAMES_ARE_VALID);
            registry.register(Box::new(histogram.clone())).expect(NAMES_ARE_VALID);
            histogram
        };
        Self {
            began: Mutex::new(Instant::now()),
            writes: histogram(
                "etcd_disk_wal_write_duration_seconds",
                "The latency distributions of write called by WAL.",
            ),
            syncs: histogram(
                "etcd_disk_wal_fsync_duration_seconds",
                "The latency distributions of fsync called by WAL.",
            ),
        }
    }

    /// Ends the step under way, begins the next, and says how long it was.
    fn step(&self) -> f64 {
        let now = Instant::now();
        let began = std::mem::replace(&mut *self.began.lock(), now);
        (now - began).as_secs_f64()
    }
}

impl raft::wal::Observer for LogTimes {
    fn write_started(&self, _bytes: usize, _operations: usize) {
        self.step();
    }

    fn sync_started(&self) {
        self.writes.observe(self.step());
    }

    fn sync_finished(&self) {
        self.syncs.observe(self.step());
    }
}
