use std::sync::Arc;

use crate::Error;
use crate::shared::Shared;

/// Writes applied state behind to the engine, on a thread of the caller.
pub struct Flusher {
    pub(crate) shared: Arc<Shared>,
}

impl Flusher {
    /// Writes what is pending (a bounded part of it) as one batch together with the mark of how
    /// far the log was applied. True if something was written.
    ///
    /// Nothing is durable before [`crate::engine::Engine::flush`].
    pub fn flush_once(&self) -> Result<bool, Error> {
        unimplemented!()
    }

    /// Bytes that wait for the engine.
    pub fn pending_bytes(&self) -> usize {
        self.shared.state.read().pending.bytes()
    }
}
