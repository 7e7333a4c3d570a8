//! How long the log's writes and syncs take: the first thing to look at on a slow disk. Calls that
//! waited for one are told too.

use std::time::Instant;

use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts, Registry, exponential_buckets};

use super::NAMES_ARE_VALID;
use crate::steps::{self, LogWrite};

pub(super) struct LogTimes {
    /// The write under way. The log's writer is one thread, so there is one.
    under_way: Mutex<LogWrite>,
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
        let now = Instant::now();
        Self {
            under_way: Mutex::new(LogWrite { began: now, sync_began: now, ended: now }),
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
}

impl raft::wal::Observer for LogTimes {
    fn write_started(&self, _bytes: usize, _operations: usize) {
        self.under_way.lock().began = Instant::now();
    }

    fn sync_started(&self) {
        let mut write = self.under_way.lock();
        write.sync_began = Instant::now();
        self.writes.observe((write.sync_began - write.began).as_secs_f64());
    }

    fn sync_finished(&self) {
        let mut write = self.under_way.lock();
        write.ended = Instant::now();
        self.syncs.observe((write.ended - write.sync_began).as_secs_f64());
        steps::note_write(*write);
    }
}
