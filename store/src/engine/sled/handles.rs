//! One open database and the handles to it that nobody uses at the moment.

use std::io;
use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;

use super::{COMPRESSION_LEVEL, LEAF_ENTRIES_MAX, Tree};

/// Handles kept for the next caller; more come into being when more call at once.
const IDLE_MAX: usize = 64;

/// sled's own flusher runs at this interval, which is never: the owner flushes.
const FLUSH_EVERY_MS: usize = usize::MAX;

/// A thread of sled's holds a lock of a database for a moment after that was closed: whoever opens it
/// again at once may find it taken. So long one waits, in pauses.
const LOCKED_PAUSE: Duration = Duration::from_millis(5);
const LOCKED_PAUSES_MAX: usize = 400;

pub(super) struct Handles {
    pool: Mutex<Pool>,
}

struct Pool {
    db: sled::Db<LEAF_ENTRIES_MAX>,
    idle: Vec<Tree>,
}

impl Handles {
    pub(super) fn open(path: &Path, cache_bytes: usize) -> io::Result<Self> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity_bytes(cache_bytes)
            .zstd_compression_level(COMPRESSION_LEVEL)
            .flush_every_ms(Some(FLUSH_EVERY_MS));
        let pool = Pool { db: open_unlocked(&config)?, idle: Vec::new() };
        Ok(Self { pool: Mutex::new(pool) })
    }

    /// A handle of the caller's own. One that is not given back is merely lost.
    pub(super) fn lend(&self) -> Tree {
        let mut pool = self.pool.lock();
        pool.idle.pop().unwrap_or_else(|| (*pool.db).clone())
    }

    pub(super) fn give_back(&self, tree: Tree) {
        let mut pool = self.pool.lock();
        if pool.idle.len() < IDLE_MAX {
            pool.idle.push(tree);
        }
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        self.pool.lock().db.flush().map(drop)
    }

    /// Flushes and closes. No handle may be on loan.
    pub(super) fn close(self) -> io::Result<()> {
        match self.flush() {
            Ok(()) => {
                self.close_flushed();
                Ok(())
            }
            Err(error) => {
                // sled would flush once more, and abort the process when that fails.
                std::mem::forget(self);
                Err(error)
            }
        }
    }

    /// Closes what was flushed just before.
    pub(super) fn close_flushed(self) {
        drop(self);
    }
}

/// # Errors
/// [`io::ErrorKind::WouldBlock`]: another process has it open.
fn open_unlocked(config: &sled::Config) -> io::Result<sled::Db<LEAF_ENTRIES_MAX>> {
    for _ in 0..LOCKED_PAUSES_MAX {
        match config.open() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => pause(),
            opened => return opened,
        }
    }
    config.open()
}

#[expect(clippy::disallowed_methods, reason = "beneath the state machine, where files are opened")]
fn pause() {
    std::thread::sleep(LOCKED_PAUSE);
}
