//! The state to start from: what the engine holds if that is beyond doubt, else rebuilt.

use std::io;
use std::sync::Arc;

use store::engine::Engine;
use store::{Position, Store};

use super::{EngineSource, damaged_log};
use crate::codec;
use crate::config::Config;
use crate::error::Error;
use crate::snapshot::{SnapshotDir, SnapshotFile};
use crate::wal::Wal;

pub(super) struct Sources<'a> {
    pub(super) config: &'a Config,
    pub(super) wal: &'a Wal,
    /// Nobody ever wrote to it.
    pub(super) log_is_new: bool,
    pub(super) snapshots: &'a SnapshotDir,
}

type State = (Store, Arc<dyn Engine>);

impl Sources<'_> {
    pub(super) fn open(&self, engines: &mut dyn EngineSource) -> Result<State, Error> {
        match self.reopen(engines)? {
            Ok(state) => Ok(state),
            Err(doubt) => {
                if self.wal.last().ok().flatten().is_some() {
                    tracing::warn!(%doubt, "the engine is rebuilt from the snapshot and the log");
                }
                self.rebuild(engines)
            }
        }
    }

    /// The engine's state, or the reason to doubt it.
    fn reopen(&self, engines: &mut dyn EngineSource) -> Result<Result<State, String>, Error> {
        let opened = engines.open().map_err(|error| error.to_string()).and_then(|engine| {
            let store = Store::open(engine.clone(), self.config.store.clone());
            Ok((store.map_err(|error| error.to_string())?, engine))
        });
        let (store, engine) = match opened {
            Ok(state) => state,
            Err(doubt) => return Ok(Err(doubt)),
        };
        let mark = store.reader().position();
        if self.log_is_new && !mark.log_id.is_empty() {
            return Err(Error::Refused(format!(
                "{} holds a state, but the log in {} is empty: give the log's directory that \
                 belongs to it, or start with an empty data directory",
                self.config.data_dir.display(),
                self.config.wal_dir.display()
            )));
        }
        self.refuse_lost_log(&mark)?;
        Ok(self.doubt(&mark)?.map_or(Ok((store, engine)), Err))
    }

    /// The engine takes an entry only after the log's sync. One that knows more than the log proves
    /// that the log lost its end, which by itself looks like a log that ended there. An installed
    /// snapshot alone may be ahead: the log follows it a moment later.
    fn refuse_lost_log(&self, mark: &Position) -> Result<(), Error> {
        let snapshot = self.snapshots.newest().and_then(|newest| newest.index());
        let Ok(Some(log_id)) = codec::log_id_at(mark) else { return Ok(()) };
        let next = self.wal.next_index();
        if log_id.index < next || snapshot.is_some_and(|snapshot| log_id.index <= snapshot) {
            return Ok(());
        }
        let what = io::Error::other(format!(
            "it ends before entry {next}, and the state in {} has entry {}",
            self.config.data_dir.display(),
            log_id.index
        ));
        Err(damaged_log(self.config, &what))
    }

    /// Why a state at `mark` cannot be continued by the log, if it cannot.
    fn doubt(&self, mark: &Position) -> Result<Option<String>, Error> {
        let snapshot = self.snapshots.newest().and_then(|newest| newest.index());
        let Ok(log_id) = codec::log_id_at(mark) else {
            return Ok(Some("its mark is damaged".into()));
        };
        let Some(log_id) = log_id else {
            let purged = self.wal.purged().is_some() || snapshot.is_some();
            return Ok(purged.then(|| "it is empty".into()));
        };
        if snapshot.is_some_and(|snapshot| log_id.index < snapshot) {
            return Ok(Some(format!("it ends at entry {}, before the snapshot", mark.index)));
        }
        let logged = self.wal.log_id_of(log_id.index);
        let logged = logged.map_err(|error| damaged_log(self.config, &error.into()))?;
        Ok(match logged {
            Some(log_id) if log_id == mark.log_id => None,
            Some(_) => Some(format!("it is not of this log at entry {}", mark.index)),
            None => Some(format!("it ends at entry {}, outside the log", mark.index)),
        })
    }

    fn rebuild(&self, engines: &mut dyn EngineSource) -> Result<State, Error> {
        let unusable = |error: &dyn std::fmt::Display| {
            let dir = self.config.data_dir.display();
            Error::Refused(format!("the engine in {dir} cannot be made anew: {error}"))
        };
        for snapshot in self.snapshots.all() {
            if !self.log_follows(&snapshot) {
                break;
            }
            engines.destroy().map_err(|error| unusable(&error))?;
            let engine = engines.open().map_err(|error| unusable(&error))?;
            let options = self.config.store.clone();
            match Store::restore(engine.clone(), options, &mut snapshot.read_state()) {
                Ok(store) => return Ok((store, engine)),
                // An engine that failed fails from then on. A full disk says nothing about the
                // snapshots, and they are all there is.
                Err(error) if engine.flush().is_err() => return Err(unusable(&error)),
                Err(error) => {
                    tracing::error!(?snapshot, %error, "damaged snapshot put aside");
                    self.snapshots.put_aside(&snapshot).map_err(|error| unusable(&error))?;
                }
            }
        }
        if self.wal.purged().is_some() {
            let what = io::Error::other("its beginning was purged, and no usable snapshot is left");
            return Err(damaged_log(self.config, &what));
        }
        engines.destroy().map_err(|error| unusable(&error))?;
        let engine = engines.open().map_err(|error| unusable(&error))?;
        let store = Store::open(engine.clone(), self.config.store.clone());
        Ok((store.map_err(|error| unusable(&error))?, engine))
    }

    /// Whether the log has every entry after the snapshot.
    fn log_follows(&self, snapshot: &SnapshotFile) -> bool {
        let next = snapshot.index().map_or(0, |index| index + 1);
        self.wal.first_index() <= next
    }
}
