//! The file system as the log and the snapshots see it: few operations, each with a stated promise
//! about durability.
//!
//! Everything that must survive a power failure goes through [`Vfs`], so that the simulator and the
//! crash tests can stand in for the disk. Nothing here retries, buffers or interprets what it
//! stores: an error is the caller's to judge, and after a failed sync the only safe judgement is to
//! stop.
//!
//! Start at the traits below; [`RealFs`] is the production side, [`CrashFs`] the one that loses
//! power on purpose, and [`Gated`] puts something of a test's before either.

mod crash;
#[cfg(test)]
mod crash_tests;
mod gated;
mod real;

pub use crash::{CrashFs, CrashRule};
pub use gated::{Gate, Gated, Operation};
pub use real::RealFs;

use std::io;
use std::path::Path;
use std::sync::Arc;

/// The size that a disk writes in one piece; anything longer may be torn at its multiples.
pub const SECTOR_BYTES: usize = 512;

/// A tree of files.
///
/// To ensure correctness, an implementation must keep these promises:
///
/// - a name that was created, renamed or removed is durable only after [`Vfs::sync_dir`] on its
///   directory;
/// - bytes and length of a file are durable only after [`File::sync_data`];
/// - a file that was opened stays readable through its handle after its name was removed.
pub trait Vfs: Send + Sync + 'static {
    /// Creates an empty file for reading and writing; an existing one is emptied.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// The names (not paths) in a directory, sorted.
    fn read_dir(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Renames a file within one directory, replacing what had the new name, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and those above it that are missing, and makes their names durable.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that may still be written to the disk of a directory, as far as it says.
    fn available_bytes(&self, _dir: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Locks a file (created if missing) against every other holder, in this process or another,
    /// until the guard is dropped. Held elsewhere: an error of kind `WouldBlock`.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// A held lock; dropping it releases the file.
pub trait Lock: Send + Sync {}

/// An open file. All offsets and lengths are in bytes.
pub trait File: Send + Sync {
    /// Writes all of `bytes`; past the end, the file grows and a gap reads as zeros.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads until `buffer` is full or the file ends; the count of bytes read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The length of the file now, synced or not.
    fn len(&self) -> io::Result<u64>;

    /// True if the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends (by zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes all bytes and the length durable (fdatasync). After an error nothing that was written
    /// since the last success may be relied on, even if a later call succeeds.
    fn sync_data(&self) -> io::Result<()>;
}
