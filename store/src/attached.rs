use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::Error;
use crate::engine::{Batch, Engine, Visit};

/// The engine, for as long as it holds the state that this store shows.
///
/// A snapshot that is installed goes into the same engine. Whoever still reads the old state would
/// find records of another moment there, or none, and take that for the truth: a backup under way
/// would end well, and lack keys. So everything that was asked of the engine counts only if the
/// engine was still this state's afterwards.
pub(crate) struct Attached {
    engine: Arc<dyn Engine>,
    retired: AtomicBool,
}

impl Attached {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Attached {
        Attached { engine, retired: AtomicBool::new(false) }
    }

    /// To be called before another state is written to the engine.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let found = self.engine.get(key);
        self.check()?;
        Ok(found?)
    }

    /// What was visited counts only if this succeeds.
    pub(crate) fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        let scanned = self.engine.scan(from, to, visit);
        self.check()?;
        Ok(scanned?)
    }

    /// The caller makes sure that it is not retired meanwhile.
    pub(crate) fn apply(&self, batch: Batch) -> Result<(), Error> {
        self.check()?;
        Ok(self.engine.apply(batch)?)
    }

    /// Whoever's state it holds.
    pub(crate) fn size_bytes(&self) -> Result<u64, Error> {
        Ok(self.engine.size_bytes()?)
    }

    fn check(&self) -> Result<(), Error> {
        if self.is_retired() { Err(Error::Replaced) } else { Ok(()) }
    }
}
