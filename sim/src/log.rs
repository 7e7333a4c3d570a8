//! What happened, line by line, stamped with the world's time.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::runtime::world_ns;

/// Clones share the lines.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Lines>>);

struct Lines {
    kept: Option<Vec<String>>,
    count: u64,
    checksum: crc32fast::Hasher,
}

impl Log {
    /// `keep`: the lines are wanted afterwards, not only what they amount to.
    pub(crate) fn new(keep: bool) -> Log {
        let kept = keep.then(Vec::new);
        let checksum = crc32fast::Hasher::new();
        Log(Arc::new(Mutex::new(Lines { kept, count: 0, checksum })))
    }

    pub(crate) fn line(&self, what: fmt::Arguments<'_>) {
        let us = world_ns() / 1000;
        let line = format!("{:>4}.{:06} {what}", us / 1_000_000, us % 1_000_000);
        let mut lines = self.0.lock();
        lines.count += 1;
        lines.checksum.update(line.as_bytes());
        if let Some(kept) = &mut lines.kept {
            kept.push(line);
        }
    }

    /// How many lines there are, and what tells them from all others.
    pub(crate) fn digest(&self) -> (u64, u32) {
        let lines = self.0.lock();
        (lines.count, lines.checksum.clone().finalize())
    }

    pub(crate) fn take(&self) -> Vec<String> {
        self.0.lock().kept.take().unwrap_or_default()
    }
}
