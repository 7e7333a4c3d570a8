//! Where the node gets its engine from, as often as it takes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use store::engine::{CrashEngine, Engine, SledEngine};

use crate::runtime;

/// Opens the engine and can do away with it.
pub trait EngineSource: Send {
    /// Opens what is there, or an empty one.
    fn open(&mut self) -> io::Result<Arc<dyn Engine>>;

    /// Removes what is there, readable or not. Nothing that was opened is in use any more.
    fn destroy(&mut self) -> io::Result<()>;
}

/// Sled in a directory.
pub struct SledSource {
    path: PathBuf,
    cache_bytes: usize,
}

impl SledSource {
    pub fn new(path: PathBuf, cache_bytes: usize) -> SledSource {
        SledSource { path, cache_bytes }
    }
}

impl EngineSource for SledSource {
    fn open(&mut self) -> io::Result<Arc<dyn Engine>> {
        runtime::ready_engine_threads();
        Ok(Arc::new(SledEngine::open(&self.path, self.cache_bytes)?))
    }

    fn destroy(&mut self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The same engine at each start, as one on a disk is.
impl EngineSource for Arc<CrashEngine> {
    fn open(&mut self) -> io::Result<Arc<dyn Engine>> {
        Ok(self.clone())
    }

    fn destroy(&mut self) -> io::Result<()> {
        self.clear()
    }
}
