//! The engine on disk, over sled 1.0-alpha.
//!
//! What this file knows about sled `1.0.0-alpha.124`, and why it is not called directly:
//! - a leaf that was written in this process is never evicted (`object_cache.rs`:
//!   `max_unflushed_epoch` is set and never cleared), so memory would grow with every write:
//!   [`SledEngine`] closes and reopens the database after each `recycle_bytes` of writes;
//! - with `flush_every_ms: None` each dropped iterator runs a whole flush, and with an interval
//!   the background flusher aborts the process on an error: the interval is set out of reach;
//! - a range iterator runs on past its end to the last leaf of the tree: the end is checked here;
//! - `clear` removes key by key: the directory is replaced instead;
//! - a handle is `Send`, not `Sync`: handles are lent from a pool;
//! - it panics on what it cannot decode: every call is fenced, and the first failure is final.

mod fence;
mod handles;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use self::fence::Fence;
use self::handles::Handles;
use super::{Batch, Engine, Visit};

/// Entries in one leaf of the tree, the unit of sled's reads and writes. With values cut at
/// [`values::INLINE_BYTES_MAX`] it bounds a leaf at 4 MiB.
const LEAF_ENTRIES_MAX: usize = 256;

/// Entries and bytes that one hold of the database hands to a scan.
const SLICE_ENTRIES_MAX: usize = 1024;
const SLICE_BYTES_MAX: usize = 1 << 20;

/// The database is not reopened for fewer bytes written than this.
const RECYCLE_BYTES_MIN: u64 = 64 << 20;

/// Bytes after which what was written is synced, though nothing asks for it: a sync of much at once
/// would hold up the log's own syncs on the same disk for as long.
const SYNC_BYTES: u64 = 16 << 20;

/// zstd's level: the fastest, for the leaves that still grow are written again and again.
const COMPRESSION_LEVEL: i32 = 1;

type Tree = sled::Tree<LEAF_ENTRIES_MAX>;

/// An engine in a directory of its own.
///
/// Any error, and any panic of sled, breaks the engine for good: from then on all calls fail, and
/// the owner deletes the directory and rebuilds. A broken engine is never flushed.
pub struct SledEngine {
    path: PathBuf,
    cache_bytes: usize,
    recycle_bytes: u64,
    fence: Fence,
    /// Locked for writing only to close the database; `None` when it could not be opened again.
    handles: RwLock<Option<Handles>>,
    /// Held by the one writer.
    written: Mutex<Written>,
}

/// Bytes of applied batches.
#[derive(Default)]
struct Written {
    since_open: u64,
    since_sync: u64,
}

impl SledEngine {
    /// Opens the database in `path`, or makes one. `cache_bytes` bounds the clean leaves in memory;
    /// about as much again may be written before memory is given back.
    ///
    /// # Errors
    /// Whatever sled says or panics about the directory: locked by another process, or damaged.
    pub fn open(path: impl Into<PathBuf>, cache_bytes: usize) -> io::Result<Self> {
        let recycle_bytes = (cache_bytes as u64).max(RECYCLE_BYTES_MIN);
        Self::open_recycling(path.into(), cache_bytes, recycle_bytes)
    }

    fn open_recycling(path: PathBuf, cache_bytes: usize, recycle_bytes: u64) -> io::Result<Self> {
        remove_dir(&discarded(&path))?;
        let fence = Fence::default();
        let handles = fence.call(|| Handles::open(&path, cache_bytes))?;
        Ok(Self {
            path,
            cache_bytes,
            recycle_bytes,
            fence,
            handles: RwLock::new(Some(handles)),
            written: Mutex::default(),
        })
    }

    /// Runs `work` with a handle of its own, fenced.
    fn with_tree<T>(&self, work: impl FnOnce(&Tree) -> io::Result<T>) -> io::Result<T> {
        let handles = self.handles.read();
        let handles = handles.as_ref().ok_or_else(closed)?;
        self.fence.call(|| {
            let tree = handles.lend();
            let result = work(&tree)?;
            handles.give_back(tree);
            Ok(result)
        })
    }

    /// One slice of a scan: entries from `from` on and before `to`, and whether more may follow.
    fn slice(&self, from: &[u8], to: &[u8]) -> io::Result<(Vec<(Bytes, Bytes)>, bool)> {
        let start = values::head_key(from);
        let end = values::head_key(to);
        self.with_tree(|tree| {
            let mut entries = Vec::new();
            let mut bytes = 0;
            for found in tree.range(start..) {
                let (stored_key, head) = found?;
                if *stored_key >= *end {
                    return Ok((entries, false));
                }
                let key = values::key_of(&stored_key)?;
                if let Some(value) = values::resolve(tree, key, &head)? {
                    bytes += key.len() + value.len();
                    entries.push((Bytes::copy_from_slice(key), value));
                }
                if entries.len() >= SLICE_ENTRIES_MAX || bytes >= SLICE_BYTES_MAX {
                    return Ok((entries, true));
                }
            }
            Ok((entries, false))
        })
    }

    /// Closes the database and does `between` on its directory before it is opened again. Readers
    /// wait meanwhile.
    fn reopen(
        &self,
        written: &mut Written,
        between: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut handles = self.handles.write();
        if let Some(open) = handles.take() {
            self.fence.call(|| open.close())?;
        }
        *handles = Some(self.fence.call(|| {
            between()?;
            Handles::open(&self.path, self.cache_bytes)
        })?);
        *written = Written::default();
        Ok(())
    }

    /// A crash on the way leaves either the whole database or none under `path`.
    fn discard(&self) -> io::Result<()> {
        std::fs::rename(&self.path, discarded(&self.path))?;
        sync_parent(&self.path)?;
        remove_dir(&discarded(&self.path))
    }

    fn sync_if_due(&self, written: &mut Written) -> io::Result<()> {
        let recycle = written.since_open >= self.recycle_bytes;
        if !recycle && written.since_sync < SYNC_BYTES {
            return Ok(());
        }
        // Before readers are shut out, too, so that closing finds little left to flush.
        self.with_tree(|tree| tree.flush().map(drop))?;
        written.since_sync = 0;
        match recycle {
            true => self.reopen(written, || Ok(())),
            false => Ok(()),
        }
    }
}

impl Engine for SledEngine {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.with_tree(|tree| values::get(tree, key))
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        let mut from = from.to_vec();
        while *from < *to {
            let (entries, more) = self.slice(&from, to)?;
            for (key, value) in &entries {
                if visit(key, value).is_break() {
                    return Ok(());
                }
            }
            match entries.last() {
                Some((last, _)) if more => {
                    // The smallest key after `last`.
                    from.clear();
                    from.extend_from_slice(last);
                    from.push(0);
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    fn apply(&self, batch: Batch) -> io::Result<()> {
        let changes: BTreeMap<Bytes, Option<Bytes>> = batch.ops.into_iter().collect();
        let mut written = self.written.lock();
        let bytes = self.with_tree(|tree| {
            let mut staged = sled::Batch::default();
            let mut bytes = 0;
            for (key, value) in &changes {
                bytes += (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64;
                values::stage(tree, &mut staged, key, value.as_deref())?;
            }
            tree.apply_batch(staged)?;
            Ok(bytes)
        })?;
        written.since_open += bytes;
        written.since_sync += bytes;
        self.sync_if_due(&mut written)
    }

    fn flush(&self) -> io::Result<()> {
        self.with_tree(|tree| tree.flush().map(drop))
    }

    fn clear(&self) -> io::Result<()> {
        let mut written = self.written.lock();
        if self.fence.is_broken() {
            // It stays broken; but who opens the directory next must not find what broke it.
            std::mem::forget(self.handles.write().take());
            return self.discard();
        }
        self.reopen(&mut written, || self.discard())
    }

    fn size_bytes(&self) -> io::Result<u64> {
        dir_bytes(&self.path)
    }
}

impl Drop for SledEngine {
    fn drop(&mut self) {
        let Some(handles) = self.handles.get_mut().take() else { return };
        // Closing writes what is dirty, and sled aborts the process when it cannot: a broken
        // engine leaks its handles instead.
        if self.fence.call(|| handles.flush()).is_ok() {
            handles.close_flushed();
        } else {
            std::mem::forget(handles);
        }
    }
}

fn closed() -> io::Error {
    io::Error::other("the engine is closed: it could not be opened again")
}

/// Where `clear` moves a database that it is about to delete.
fn discarded(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".discarded");
    name.into()
}

fn remove_dir(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => std::fs::File::open(parent)?.sync_all(),
        _ => std::fs::File::open(".")?.sync_all(),
    }
}

/// Allocated bytes under `path`: sled's files have holes, and may vanish while they are counted.
fn dir_bytes(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    const BLOCK_BYTES: u64 = 512;
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(found) if found.is_dir() => bytes += dir_bytes(&entry.path())?,
            Ok(found) => bytes += found.blocks() * BLOCK_BYTES,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}
