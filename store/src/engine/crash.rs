//! The engine in memory that can lose power on purpose.

use std::io;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Batch, Engine, MemEngine, Visit};

/// An engine in memory that outlives its process, and of which [`CrashEngine::crash`] takes what was
/// not flushed.
#[derive(Default)]
pub struct CrashEngine {
    /// What readers see: what is flushed, and all of `pending`.
    live: MemEngine,
    flushed: MemEngine,
    /// Applied since the last flush, in order.
    pending: Mutex<Vec<Batch>>,
}

impl CrashEngine {
    /// An empty engine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Batches that a power failure could lose now.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.lock().len()
    }

    /// The engine after a power failure that left the first `kept` of the pending batches: none
    /// survives without those before it. The next one may still take them. A new one; this one stays
    /// as it is.
    #[must_use]
    pub fn crash(&self, kept: usize) -> Self {
        let pending = self.pending.lock();
        let (live, flushed) = (self.flushed.clone(), self.flushed.clone());
        let pending = pending[..kept].to_vec();
        for batch in &pending {
            live.apply(batch.clone()).expect("memory takes it");
        }
        Self { live, flushed, pending: Mutex::new(pending) }
    }
}

impl Engine for CrashEngine {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.live.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        self.live.scan(from, to, visit)
    }

    fn apply(&self, batch: Batch) -> io::Result<()> {
        let mut pending = self.pending.lock();
        pending.push(batch.clone());
        self.live.apply(batch)
    }

    fn flush(&self) -> io::Result<()> {
        let mut pending = self.pending.lock();
        pending.drain(..).try_for_each(|batch| self.flushed.apply(batch))
    }

    fn clear(&self) -> io::Result<()> {
        let mut pending = self.pending.lock();
        pending.clear();
        self.flushed.clear()?;
        self.live.clear()
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.live.size_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(engine: &CrashEngine, key: &'static str) {
        let mut batch = Batch::default();
        batch.put(key, "value");
        engine.apply(batch).unwrap();
    }

    fn has(engine: &CrashEngine) -> String {
        let has = |key: &&str| engine.get(key.as_bytes()).unwrap().is_some();
        ["a", "b", "c", "d"].into_iter().filter(has).collect()
    }

    #[test]
    fn a_power_failure_leaves_what_was_flushed_and_the_first_of_the_rest() {
        // Proves what each failure leaves, that the next may take the rest, and that what was cleared
        // does not come back.
        let engine = CrashEngine::new();
        put(&engine, "a");
        engine.flush().unwrap();
        for key in ["b", "c", "d"] {
            put(&engine, key);
        }
        assert_eq!(engine.pending(), 3);
        let left: Vec<String> = (0..=3).map(|kept| has(&engine.crash(kept))).collect();
        assert_eq!(left, ["a", "ab", "abc", "abcd"]);
        assert_eq!(has(&engine.crash(2).crash(1)), "ab");
        assert_eq!(has(&engine), "abcd");
        engine.clear().unwrap();
        assert_eq!((engine.pending(), has(&engine.crash(0))), (0, String::new()));
    }
}
