//! The writer.

use std::io::Read;
use std::sync::Arc;

use api::berthpb::Command;
use bytes::Bytes;

use crate::engine::Engine;
use crate::{Applied, Compactor, Error, Flusher, Options, Position, Reader, Snapshot};

/// The state machine. It has one owner, who applies the log to it in order.
pub struct Store {}

impl Store {
    /// Opens on what the engine holds; an empty engine is a fresh store at revision 1.
    ///
    /// # Errors
    /// The engine failed or what it holds does not fit together: wipe it and rebuild.
    pub fn open(_engine: Arc<dyn Engine>, _options: Options) -> Result<Store, Error> {
        unimplemented!()
    }

    /// Replaces everything in the engine by a snapshot, then behaves as freshly opened.
    ///
    /// # Errors
    /// The snapshot is damaged or the engine failed: the engine's content is then worthless.
    pub fn restore(
        _engine: Arc<dyn Engine>,
        _options: Options,
        _source: &mut dyn Read,
    ) -> Result<Store, Error> {
        unimplemented!()
    }

    /// Applies one command; `position` becomes the applied mark. It never fails as a whole: a
    /// refused command is an answer, and changed nothing but the mark.
    pub fn apply(&mut self, _position: Position, _command: &Command) -> Applied {
        unimplemented!()
    }

    /// An entry without a command (blank, membership): moves the mark, and keeps the membership
    /// for raft if there is one.
    pub fn advance(&mut self, _position: Position, _membership: Option<Bytes>) {
        unimplemented!()
    }

    pub fn reader(&self) -> Reader {
        unimplemented!()
    }

    /// The write-behind; there should be one at a time.
    pub fn flusher(&self) -> Flusher {
        unimplemented!()
    }

    /// The physical compaction; there should be one at a time.
    pub fn compactor(&self) -> Compactor {
        unimplemented!()
    }

    pub fn snapshot(&self) -> Snapshot {
        unimplemented!()
    }
}
