//! How long batches take to be written to the engine: what etcd calls the backend's commits. Nobody
//! waits for one, unless much is pending.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use prometheus::{Histogram, HistogramOpts, Registry, exponential_buckets};
use raft::EngineSource;
use store::engine::{Batch, Engine, Visit};

use super::{NAMES_ARE_VALID, register};

/// Engines that measure their batches.
pub(super) struct Measured {
    inner: Box<dyn EngineSource>,
    batches: Histogram,
}

impl Measured {
    pub(super) fn new(registry: &Registry, inner: Box<dyn EngineSource>) -> Self {
        // etcd's: 1 ms to 8 s.
        let buckets = exponential_buckets(0.001, 2.0, 14).expect(NAMES_ARE_VALID);
        let name = "etcd_disk_backend_commit_duration_seconds";
        let opts =
            HistogramOpts::new(name, "The latency distributions of commit called by backend.");
        let batches = Histogram::with_opts(opts.buckets(buckets)).expect(NAMES_ARE_VALID);
        register(registry, &batches);
        Self { inner, batches }
    }
}

impl EngineSource for Measured {
    fn open(&mut self) -> io::Result<Arc<dyn Engine>> {
        let inner = self.inner.open()?;
        Ok(Arc::new(MeasuredEngine { inner, batches: self.batches.clone() }))
    }

    fn destroy(&mut self) -> io::Result<()> {
        self.inner.destroy()
    }
}

struct MeasuredEngine {
    inner: Arc<dyn Engine>,
    batches: Histogram,
}

impl Engine for MeasuredEngine {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.inner.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        self.inner.scan(from, to, visit)
    }

    fn apply(&self, batch: Batch) -> io::Result<()> {
        let _timer = self.batches.start_timer();
        self.inner.apply(batch)
    }

    fn flush(&self) -> io::Result<()> {
        self.inner.flush()
    }

    fn clear(&self) -> io::Result<()> {
        self.inner.clear()
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.inner.size_bytes()
    }
}
