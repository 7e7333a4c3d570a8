//! A file system in memory that can lose power, and that fails when told to.
//!
//! Every file has two images: what a reader sees, and what is durable. What lies between them is a
//! list of changes in the order they were made; a sync makes the changes of one file (or of the
//! names in one directory) durable, and [`CrashFs::crash`] decides about the rest.

use super::{File, Lock, SECTOR_BYTES, Vfs};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a power failure does with the changes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashRule {
    /// All are lost.
    DropAll,
    /// All are kept.
    KeepAll,
    /// The first `changes` are kept, and of the one after them (if it is a write) the first
    /// `sectors` sectors.
    KeepPrefix {
        /// Changes that are kept whole.
        changes: usize,
        /// Sectors of [`SECTOR_BYTES`] of the change after them.
        sectors: usize,
    },
    /// Each change, and each sector of a write, is kept or lost by a coin thrown from the seed: the
    /// disk may reorder and tear as it likes.
    Tear {
        /// Decides the coins.
        seed: u64,
    },
}

impl CrashRule {
    /// What to try when a power failure finds `pending` changes: to lose all, to keep all, to keep
    /// every prefix with some sectors of the change behind it, and a few throws of the coins.
    pub fn for_pending(pending: usize) -> Vec<CrashRule> {
        if pending == 0 {
            // All rules leave the same.
            return vec![CrashRule::DropAll];
        }
        let mut rules = vec![CrashRule::DropAll, CrashRule::KeepAll];
        for changes in 0..pending {
            let prefix = |sectors| CrashRule::KeepPrefix { changes, sectors };
            rules.extend([0, 1, 2, 4].map(prefix));
        }
        rules.extend((0..6).map(|seed| CrashRule::Tear { seed }));
        rules
    }
}

/// A file system in memory; clones share it.
#[derive(Clone, Default)]
pub struct CrashFs {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    files: Vec<Images>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    directories: BTreeSet<PathBuf>,
    pending: Vec<Change>,
    locked: BTreeSet<PathBuf>,
    operations: u64,
    syncs: u64,
    fault: Option<Fault>,
}

/// Shared by the file systems that came of one another, until one of them writes.
#[derive(Default, Clone)]
struct Images {
    live: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
}

#[derive(Clone)]
enum Change {
    Write { file: usize, offset: usize, bytes: Vec<u8> },
    Resize { file: usize, len: usize },
    Link { path: PathBuf, file: usize },
    Unlink { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, file: usize },
}

#[derive(Clone, Copy)]
enum Fault {
    /// This operation fails; later ones work again.
    Once(u64),
    /// From this operation on, nothing works: the power is gone.
    From(u64),
}

impl CrashFs {
    /// An empty file system.
    pub fn new() -> CrashFs {
        CrashFs::default()
    }

    /// The file system after a power failure: a new one without locks and faults; this one stays as
    /// it is, so that many failures can be tried from one state.
    pub fn crash(&self, rule: CrashRule) -> CrashFs {
        let disk = self.disk.lock();
        let mut after = Disk {
            files: disk.files.clone(),
            durable_names: disk.durable_names.clone(),
            directories: disk.directories.clone(),
            ..Disk::default()
        };
        for (nth, change) in disk.pending.iter().enumerate() {
            after.survive(nth, change, rule);
        }
        after.names = after.durable_names.clone();
        for file in &mut after.files {
            file.live = file.durable.clone();
        }
        CrashFs { disk: Arc::new(Mutex::new(after)) }
    }

    /// The file system after the death of the process alone: what was not synced is still there, and
    /// still to be lost. A new one without locks and faults, like [`CrashFs::crash`].
    pub fn kill(&self) -> CrashFs {
        let disk = self.disk.lock();
        let after = Disk {
            files: disk.files.clone(),
            names: disk.names.clone(),
            durable_names: disk.durable_names.clone(),
            directories: disk.directories.clone(),
            pending: disk.pending.clone(),
            ..Disk::default()
        };
        CrashFs { disk: Arc::new(Mutex::new(after)) }
    }

    /// Changes that a power failure could lose now.
    pub fn pending(&self) -> usize {
        self.disk.lock().pending.len()
    }

    /// Operations so far that change or sync something.
    pub fn operations(&self) -> u64 {
        self.disk.lock().operations
    }

    /// Syncs of file data so far.
    pub fn syncs(&self) -> u64 {
        self.disk.lock().syncs
    }

    /// Lets operation `nth` (counted from 0, see [`CrashFs::operations`]) fail. A failed write
    /// leaves half of its bytes; a failed sync leaves the file as if clean: what was written is
    /// readable and will never be durable.
    pub fn fail_at(&self, nth: u64) {
        self.disk.lock().fault = Some(Fault::Once(nth));
    }

    /// Cuts the power before operation `nth`: it and all later ones fail and change nothing.
    pub fn halt_at(&self, nth: u64) {
        self.disk.lock().fault = Some(Fault::From(nth));
    }

    /// The bytes of a file as a reader sees them.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk.lock();
        disk.names.get(path).map(|&file| disk.files[file].live.to_vec())
    }

    /// All files as a reader sees them.
    pub fn image(&self) -> BTreeMap<PathBuf, Arc<Vec<u8>>> {
        let disk = self.disk.lock();
        let file =
            |(path, file): (&PathBuf, &usize)| (path.clone(), disk.files[*file].live.clone());
        disk.names.iter().map(file).collect()
    }

    /// Puts a file there, durable at once.
    pub fn install(&self, path: &Path, bytes: Vec<u8>) {
        let mut disk = self.disk.lock();
        let file = disk.files.len();
        let bytes = Arc::new(bytes);
        disk.files.push(Images { live: bytes.clone(), durable: bytes });
        disk.names.insert(path.to_owned(), file);
        disk.durable_names.insert(path.to_owned(), file);
        disk.directories.extend(path.parent().map(Path::to_owned));
    }
}

impl Disk {
    /// Counts an operation and fails it if it is its turn: `Some(error)`.
    fn next_operation(&mut self) -> Option<io::Error> {
        let nth = self.operations;
        self.operations += 1;
        let fails = match self.fault {
            Some(Fault::Once(at)) => nth == at,
            Some(Fault::From(at)) => nth >= at,
            None => false,
        };
        fails.then(|| io::Error::other(format!("injected at operation {nth}")))
    }

    fn is_halted(&self) -> bool {
        matches!(self.fault, Some(Fault::From(at)) if self.operations > at)
    }

    fn begin(&mut self) -> io::Result<()> {
        self.next_operation().map_or(Ok(()), Err)
    }

    fn lookup(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, change: Change) {
        apply_to_names(&mut self.names, &change);
        if let Some(file) = change.file() {
            apply_to_bytes(Arc::make_mut(&mut self.files[file].live), &change);
        }
        self.pending.push(change);
    }

    /// Makes durable the pending changes that `which` picks; they are pending no more.
    fn persist(&mut self, which: impl Fn(&Change) -> bool) {
        let (chosen, rest) = std::mem::take(&mut self.pending).into_iter().partition(which);
        self.pending = rest;
        let chosen: Vec<Change> = chosen;
        for change in &chosen {
            self.persist_one(change);
        }
    }

    fn persist_one(&mut self, change: &Change) {
        apply_to_names(&mut self.durable_names, change);
        if let Some(file) = change.file() {
            apply_to_bytes(Arc::make_mut(&mut self.files[file].durable), change);
        }
    }

    /// Keeps of the `nth` pending change what the rule keeps.
    fn survive(&mut self, nth: usize, change: &Change, rule: CrashRule) {
        match rule {
            CrashRule::DropAll => {}
            CrashRule::KeepAll => self.persist_one(change),
            CrashRule::KeepPrefix { changes, sectors } if nth == changes => {
                self.persist_sectors(change, |sector| sector < sectors);
            }
            CrashRule::KeepPrefix { changes, .. } if nth < changes => self.persist_one(change),
            CrashRule::KeepPrefix { .. } => {}
            CrashRule::Tear { seed } => {
                let coin = move |toss: usize| mix(seed, nth as u64, toss as u64) & 1 == 1;
                if matches!(change, Change::Write { .. }) {
                    self.persist_sectors(change, coin);
                } else if coin(0) {
                    self.persist_one(change);
                }
            }
        }
    }

    fn persist_sectors(&mut self, change: &Change, keep: impl Fn(usize) -> bool) {
        let Change::Write { file, offset, bytes } = change else { return };
        let (mut at, end) = (*offset, offset + bytes.len());
        let mut nth = 0;
        while at < end {
            let sector_end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
            let piece = &bytes[at - offset..sector_end.min(end) - offset];
            if keep(nth) {
                let piece = Change::Write { file: *file, offset: at, bytes: piece.to_vec() };
                self.persist_one(&piece);
            }
            (at, nth) = (sector_end, nth + 1);
        }
    }
}

impl Change {
    /// The file whose bytes it changes.
    fn file(&self) -> Option<usize> {
        match self {
            Change::Write { file, .. } | Change::Resize { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// The directory whose names it changes.
    fn directory(&self) -> Option<&Path> {
        match self {
            Change::Link { path, .. } | Change::Unlink { path } => path.parent(),
            Change::Rename { to, .. } => to.parent(),
            _ => None,
        }
    }
}

fn apply_to_names(names: &mut BTreeMap<PathBuf, usize>, change: &Change) {
    match change {
        Change::Link { path, file } => {
            names.insert(path.clone(), *file);
        }
        Change::Unlink { path } => {
            names.remove(path);
        }
        Change::Rename { from, to, file } => {
            names.remove(from);
            names.insert(to.clone(), *file);
        }
        Change::Write { .. } | Change::Resize { .. } => {}
    }
}

fn apply_to_bytes(image: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes, .. } => {
            let end = offset + bytes.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            image[*offset..end].copy_from_slice(bytes);
        }
        Change::Resize { len, .. } => image.resize(*len, 0),
        _ => {}
    }
}

/// A coin for the rule [`CrashRule::Tear`]: splitmix64 over three numbers.
fn mix(seed: u64, nth: u64, toss: u64) -> u64 {
    let mut mixed = seed ^ nth.rotate_left(24) ^ toss.rotate_left(48);
    for _ in 0..2 {
        mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
    }
    mixed
}

struct Handle {
    disk: Arc<Mutex<Disk>>,
    file: usize,
}

struct Locked {
    disk: Arc<Mutex<Disk>>,
    path: PathBuf,
}

impl Lock for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        self.disk.lock().locked.remove(&self.path);
    }
}

impl Vfs for CrashFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        let file = match disk.lookup(path) {
            Ok(file) => {
                disk.change(Change::Resize { file, len: 0 });
                file
            }
            Err(_) => {
                let file = disk.files.len();
                disk.files.push(Images::default());
                disk.change(Change::Link { path: path.to_owned(), file });
                file
            }
        };
        Ok(Arc::new(Handle { disk: Arc::clone(&self.disk), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.disk.lock().lookup(path)?;
        Ok(Arc::new(Handle { disk: Arc::clone(&self.disk), file }))
    }

    fn read_dir(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk.lock();
        let inside = disk.names.keys().filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| path.file_name());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        let file = disk.lookup(from)?;
        disk.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), file });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        disk.lookup(path)?;
        disk.change(Change::Unlink { path: path.to_owned() });
        Ok(())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.lock().directories.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        if !disk.directories.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.persist(|change| change.directory() == Some(dir));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        if !self.disk.lock().locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Locked { disk: Arc::clone(&self.disk), path: path.to_owned() }))
    }
}

impl File for Handle {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let error = disk.next_operation();
        let written = match &error {
            None => bytes,
            Some(_) if disk.is_halted() => &[],
            Some(_) => &bytes[..bytes.len() / 2],
        };
        if !written.is_empty() {
            disk.change(Change::Write { file: self.file, offset, bytes: written.to_vec() });
        }
        error.map_or(Ok(()), Err)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.disk.lock();
        let image = &disk.files[self.file].live;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(image.len());
        let count = buffer.len().min(image.len() - start);
        buffer[..count].copy_from_slice(&image[start..start + count]);
        Ok(count)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.file].live.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.begin()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        disk.change(Change::Resize { file: self.file, len });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let error = disk.next_operation();
        let file = Some(self.file);
        match error {
            None => {
                disk.syncs += 1;
                disk.persist(|change| change.file() == file);
                Ok(())
            }
            Some(error) => {
                if !disk.is_halted() {
                    disk.pending.retain(|change| change.file() != file);
                }
                Err(error)
            }
        }
    }
}
