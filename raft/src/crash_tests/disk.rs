//! A disk that is kept as it was before each sync.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use store::engine::{Batch, CrashEngine, Engine, Visit};

use super::ledger::{Ledger, Promises};
use crate::vfs::{CrashFs, Gate, Gated, Operation, Vfs};
use crate::{EngineSource, wal};

pub(super) type Writer = Pin<Box<dyn Future<Output = Result<(), wal::Error>> + Send>>;

/// A moment before a sync.
pub(super) struct Point {
    pub(super) fs: CrashFs,
    engine: CrashEngine,
    pub(super) promises: Promises,
    /// Which operation of the script it is in.
    pub(super) operation: usize,
}

impl Point {
    /// The engine as a power failure may leave it: lost, or with the first of what was not flushed.
    pub(super) fn engines(&self) -> impl Iterator<Item = CrashEngine> {
        let kept = (0..=self.engine.pending()).map(|kept| self.engine.crash(kept));
        std::iter::once(CrashEngine::new()).chain(kept)
    }
}

/// Clones share it.
#[derive(Clone)]
pub(super) struct Disk {
    fs: CrashFs,
    engine: Arc<CrashEngine>,
    shared: Arc<Shared>,
}

struct Shared {
    ledger: Mutex<Ledger>,
    points: Mutex<Vec<Point>>,
    operation: AtomicUsize,
    writer: Mutex<Option<Writer>>,
    /// At how many more syncs among the snapshots the log's writer takes its turn; 0: at none.
    interleave: AtomicUsize,
}

impl Disk {
    pub(super) fn new() -> Disk {
        let shared = Shared {
            ledger: Mutex::new(Ledger::new()),
            points: Mutex::default(),
            operation: AtomicUsize::new(0),
            writer: Mutex::new(None),
            interleave: AtomicUsize::new(0),
        };
        Disk { fs: CrashFs::new(), engine: Arc::default(), shared: Arc::new(shared) }
    }

    pub(super) fn vfs(&self) -> Arc<dyn Vfs> {
        Arc::new(Gated::new(Arc::new(self.fs.clone()), Arc::new(self.clone())))
    }

    /// Batches of the engine that are not flushed.
    pub(super) fn unflushed(&self) -> usize {
        self.engine.pending()
    }

    pub(super) fn with_ledger<T>(&self, see: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = self.shared.ledger.lock();
        ledger.hear();
        see(&mut ledger)
    }

    pub(super) fn set_writer(&self, writer: Writer) {
        *self.shared.writer.lock() = Some(writer);
    }

    /// The writer of the log writes all that waits for it, if it is not about to anyway.
    pub(super) fn write(&self) {
        let Some(mut writer) = self.shared.writer.try_lock() else { return };
        let Some(writer) = writer.as_mut() else { return };
        let end = writer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(end, Poll::Pending), "the writer ended: {end:?}");
    }

    /// The log is written between two syncs of the next snapshot: before its `nth`, from 1.
    pub(super) fn write_before_snapshot_sync(&self, nth: usize) {
        self.shared.interleave.store(nth, Ordering::SeqCst);
    }

    pub(super) fn begin_operation(&self, nth: usize) {
        self.shared.operation.store(nth, Ordering::SeqCst);
    }

    fn before_sync(&self, path: &Path) {
        let counts_down = |left: usize| left.checked_sub(1);
        if path.starts_with("/data/snap")
            && self.shared.interleave.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counts_down)
                == Ok(1)
        {
            self.write();
        }
        self.keep();
    }

    /// Keeps the disk as it is now.
    pub(super) fn keep(&self) {
        let promises = self.with_ledger(|ledger| ledger.promises.clone());
        let operation = self.shared.operation.load(Ordering::SeqCst);
        let (fs, engine) = (self.fs.kill(), self.engine.crash(self.engine.pending()));
        self.shared.points.lock().push(Point { fs, engine, promises, operation });
    }

    /// Ends it: what was kept, and what was promised.
    pub(super) fn finish(self) -> (Vec<Point>, Ledger) {
        // It holds the disk.
        drop(self.shared.writer.lock().take());
        let ledger = std::mem::replace(&mut *self.shared.ledger.lock(), Ledger::new());
        (std::mem::take(&mut *self.shared.points.lock()), ledger)
    }
}

impl Gate for Disk {
    fn pass(&self, operation: Operation, path: &Path) -> io::Result<()> {
        if operation == Operation::Sync {
            self.before_sync(path);
        }
        Ok(())
    }
}

impl EngineSource for Disk {
    fn open(&mut self) -> io::Result<Arc<dyn Engine>> {
        Ok(Arc::new(self.clone()))
    }

    fn destroy(&mut self) -> io::Result<()> {
        self.clear()
    }
}

/// The engine that is on it, flushing and clearing which are syncs.
impl Engine for Disk {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.engine.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        self.engine.scan(from, to, visit)
    }

    fn apply(&self, batch: Batch) -> io::Result<()> {
        self.engine.apply(batch)
    }

    fn flush(&self) -> io::Result<()> {
        self.keep();
        self.engine.flush()
    }

    fn clear(&self) -> io::Result<()> {
        self.keep();
        self.engine.clear()
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.engine.size_bytes()
    }
}
