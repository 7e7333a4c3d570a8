//! A member's disk: files that forget what was not synced, an engine that forgets what was not
//! flushed, and a power supply that fails in the middle of an operation.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use raft::EngineSource;
use raft::vfs::{CrashFs, CrashRule, File, Lock, Vfs};
use store::engine::{Batch, Engine, MemEngine, Visit};

use crate::chance::Chance;
use crate::runtime::Process;

/// Of a thousand power cuts, so many leave an engine that cannot be opened.
const ENGINES_LOST: u32 = 200;

/// What outlives a member's process.
#[derive(Default)]
pub(crate) struct Disk {
    files: CrashFs,
    engine: Arc<EngineState>,
}

/// How a process ended, as far as its disk is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The process alone: what it wrote is there, synced or not.
    Killed,
    /// The machine: what was not synced may be there, or not, or in parts.
    PowerCut,
}

impl Disk {
    pub(crate) fn new() -> Disk {
        Disk::default()
    }

    /// What a process sees of it.
    pub(crate) fn mount(&self, process: Arc<Process>) -> Mounted {
        Mounted { files: self.files.clone(), power: Arc::default(), process }
    }

    pub(crate) fn engines(&self) -> Engines {
        Engines(self.engine.clone())
    }

    /// The disk as the next process finds it.
    pub(crate) fn after(&self, end: End, chance: &Chance) -> Disk {
        let files = match end {
            End::Killed => self.files.kill(),
            End::PowerCut => self.files.crash(rule(chance, self.files.pending())),
        };
        let after = Disk { files, engine: Arc::new(self.engine.after(end, chance)) };
        let is_whole = end == End::Killed || !chance.one_in_thousand(ENGINES_LOST);
        if is_whole { after } else { after.without_engine() }
    }

    /// The engine is gone altogether, as after a file system check that went badly.
    pub(crate) fn without_engine(self) -> Disk {
        Disk { files: self.files, engine: Arc::default() }
    }
}

fn rule(chance: &Chance, pending: usize) -> CrashRule {
    match chance.index(4) {
        0 => CrashRule::DropAll,
        1 => CrashRule::KeepAll,
        2 => {
            let changes = chance.index(pending + 1);
            CrashRule::KeepPrefix { changes, sectors: chance.index(8) }
        }
        _ => CrashRule::Tear { seed: chance.number(0..u64::MAX) },
    }
}

/// The files while a process runs on them; clones share the power supply.
#[derive(Clone)]
pub(crate) struct Mounted {
    files: CrashFs,
    power: Arc<Power>,
    process: Arc<Process>,
}

#[derive(Default)]
struct Power {
    armed: AtomicBool,
    /// Operations until it goes.
    left: AtomicU64,
}

impl Mounted {
    /// Cuts the power at the operation after the next `operations`: the process dies with it.
    pub(crate) fn cut_power_after(&self, operations: u64) {
        self.files.halt_at(self.files.operations() + operations);
        self.power.left.store(operations, Ordering::Relaxed);
        self.power.armed.store(true, Ordering::Relaxed);
    }

    /// Lets the operation after the next `operations` fail; those after it work again.
    pub(crate) fn fail_after(&self, operations: u64) {
        self.files.fail_at(self.files.operations() + operations);
    }

    /// Nothing fails that has not failed yet.
    pub(crate) fn mend(&self) {
        self.files.fail_at(u64::MAX);
        self.power.armed.store(false, Ordering::Relaxed);
    }

    /// Before each operation that changes something.
    fn use_power(&self) {
        if !self.power.armed.load(Ordering::Relaxed) {
            return;
        }
        let left = self.power.left.load(Ordering::Relaxed);
        match left.checked_sub(1) {
            Some(left) => self.power.left.store(left, Ordering::Relaxed),
            None => self.process.kill(),
        }
    }
}

impl Vfs for Mounted {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.use_power();
        let file = self.files.create(path)?;
        Ok(Arc::new(MountedFile { file, disk: self.clone() }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.files.open(path)?;
        Ok(Arc::new(MountedFile { file, disk: self.clone() }))
    }

    fn read_dir(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.files.read_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.use_power();
        self.files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.use_power();
        self.files.remove(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.files.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.use_power();
        self.files.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.files.lock(path)
    }
}

struct MountedFile {
    file: Arc<dyn File>,
    disk: Mounted,
}

impl File for MountedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.use_power();
        self.file.write_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.use_power();
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.use_power();
        self.file.sync_data()
    }
}

/// The engine on a disk.
#[derive(Default)]
struct EngineState {
    live: MemEngine,
    /// Applied since the last flush, in order.
    unflushed: Mutex<Vec<Batch>>,
    flushed: Mutex<Batch>,
}

impl EngineState {
    /// Batches survive in order: none without those before it.
    fn after(&self, end: End, chance: &Chance) -> EngineState {
        let unflushed = self.unflushed.lock();
        let kept = match end {
            End::Killed => unflushed.len(),
            End::PowerCut => chance.index(unflushed.len() + 1),
        };
        let after = EngineState::default();
        *after.flushed.lock() = self.flushed.lock().clone();
        let batches = std::iter::once(self.flushed.lock().clone());
        for batch in batches.chain(unflushed[..kept].iter().cloned()) {
            after.live.apply(batch).expect("memory takes it");
        }
        *after.unflushed.lock() = unflushed[..kept].to_vec();
        after
    }

    fn contents(&self) -> Batch {
        let mut contents = Batch::default();
        let mut take = |key: &[u8], value: &[u8]| {
            contents.put(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            ControlFlow::Continue(())
        };
        self.live.scan(&[], &[0xff; 64], &mut take).expect("memory can be read");
        contents
    }
}

impl Engine for EngineState {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.live.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        self.live.scan(from, to, visit)
    }

    fn apply(&self, batch: Batch) -> io::Result<()> {
        self.unflushed.lock().push(batch.clone());
        self.live.apply(batch)
    }

    fn flush(&self) -> io::Result<()> {
        *self.flushed.lock() = self.contents();
        self.unflushed.lock().clear();
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        self.unflushed.lock().clear();
        *self.flushed.lock() = Batch::default();
        self.live.clear()
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.live.size_bytes()
    }
}

/// Where a member's node gets its engine from.
pub(crate) struct Engines(Arc<EngineState>);

impl EngineSource for Engines {
    fn open(&mut self) -> io::Result<Arc<dyn Engine>> {
        Ok(self.0.clone())
    }

    fn destroy(&mut self) -> io::Result<()> {
        self.0.clear()
    }
}
