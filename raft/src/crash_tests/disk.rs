//! A disk that is kept as it was before each sync.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::ledger::{Ledger, Promises};
use crate::vfs::{CrashFs, File, Lock, Vfs};
use crate::wal;

pub(super) type Writer = Pin<Box<dyn Future<Output = Result<(), wal::Error>> + Send>>;

/// A moment before a sync.
pub(super) struct Point {
    pub(super) fs: CrashFs,
    pub(super) promises: Promises,
    /// Which operation of the script it is in.
    pub(super) operation: usize,
}

/// Clones share it.
#[derive(Clone)]
pub(super) struct Disk {
    fs: CrashFs,
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
        Disk { fs: CrashFs::new(), shared: Arc::new(shared) }
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
        self.shared.points.lock().push(Point { fs: self.fs.kill(), promises, operation });
    }

    /// Ends it: what was kept, and what was promised.
    pub(super) fn finish(self) -> (Vec<Point>, Ledger) {
        // It holds the disk.
        drop(self.shared.writer.lock().take());
        let ledger = std::mem::replace(&mut *self.shared.ledger.lock(), Ledger::new());
        (std::mem::take(&mut *self.shared.points.lock()), ledger)
    }
}

impl Vfs for Disk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.fs.create(path)?;
        Ok(Arc::new(Handle { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.fs.open(path)?;
        Ok(Arc::new(Handle { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn read_dir(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.fs.read_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fs.remove(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.fs.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.before_sync(dir);
        self.fs.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.fs.lock(path)
    }
}

struct Handle {
    disk: Disk,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl File for Handle {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.before_sync(&self.path);
        self.file.sync_data()
    }
}
