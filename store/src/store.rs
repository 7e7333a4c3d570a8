//! The writer.

use std::io::Read;
use std::sync::Arc;

use api::berthpb::Command;
use bytes::Bytes;
use smallvec::SmallVec;

use crate::apply;
use crate::engine::Engine;
use crate::persist::{load, records};
use crate::shared::Shared;
use crate::snapshot;
use crate::write::Write;
use crate::{Applied, Compactor, Error, Flusher, Options, Position, Reader, Snapshot};

/// The state machine. It has one owner, who applies the log to it in order.
pub struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// Opens on what the engine holds; an empty engine is a fresh store at revision 1.
    ///
    /// # Errors
    /// The engine failed or what it holds does not fit together: wipe it and rebuild.
    pub fn open(engine: Arc<dyn Engine>, options: Options) -> Result<Store, Error> {
        let state = load::load(&*engine)?;
        Ok(Store { shared: Shared::new(engine, options, state) })
    }

    /// Replaces everything in the engine by a snapshot, then behaves as freshly opened.
    ///
    /// # Errors
    /// The snapshot is damaged or the engine failed: the engine's content is then worthless.
    pub fn restore(
        engine: Arc<dyn Engine>,
        options: Options,
        source: &mut dyn Read,
    ) -> Result<Store, Error> {
        snapshot::restore(&*engine, source)?;
        Store::open(engine, options)
    }

    /// Applies one command; `position` becomes the applied mark. It never fails as a whole: a
    /// refused command is an answer, and changed nothing but the mark. After [`Error::Engine`] nothing
    /// more may be applied: the mark stays where it was, or is at what was applied and cannot be shown.
    ///
    /// # Panics
    /// If `position` is not behind the last one: an entry applied twice, or out of order, would
    /// silently make this replica differ from the others.
    pub fn apply(&mut self, position: Position, command: &Command) -> Applied {
        match apply::apply(&self.shared, &position, command) {
            Ok(effect) => {
                let revision = self.revision();
                let result = effect.outcome.response(&self.shared);
                Applied { revision, result, events: effect.events }
            }
            Err(error) => {
                // A failed engine is no answer: the entry is still to be applied, by the next start.
                if !matches!(error, Error::Engine(_)) {
                    self.advance(position, None);
                }
                let revision = self.revision();
                Applied { revision, result: Err(error), events: SmallVec::new() }
            }
        }
    }

    fn revision(&self) -> i64 {
        self.shared.state.read().revision
    }

    /// An entry without a command (blank, membership): moves the mark, and keeps the membership
    /// for raft if there is one.
    ///
    /// # Panics
    /// As [`Store::apply`].
    pub fn advance(&mut self, position: Position, membership: Option<Bytes>) {
        let mut write = Write::begin(self.shared.state.write());
        if let Some(membership) = membership {
            let key = Bytes::from_static(records::MEMBERSHIP_KEY);
            write.record(key, Some(membership.clone()));
            write.state_mut().membership = Some(membership);
        }
        write.commit(position);
    }

    pub fn reader(&self) -> Reader {
        Reader { shared: Arc::clone(&self.shared) }
    }

    /// The write-behind; there should be one at a time.
    pub fn flusher(&self) -> Flusher {
        Flusher { shared: Arc::clone(&self.shared) }
    }

    /// The physical compaction; there should be one at a time.
    pub fn compactor(&self) -> Compactor {
        Compactor { shared: Arc::clone(&self.shared) }
    }

    /// The whole state as it is now, to be read from any thread at leisure.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.shared)
    }
}
