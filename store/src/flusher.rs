use crate::Error;

/// Writes applied state behind to the engine, on a thread of the caller.
pub struct Flusher {}

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
        unimplemented!()
    }

    /// The index of the newest log entry whose effects are all in the engine.
    pub fn flushed_index(&self) -> u64 {
        unimplemented!()
    }
}
