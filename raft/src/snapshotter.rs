//! When a snapshot is taken, and how far the log is purged after it.
//!
//! Openraft would count entries; we count bytes, so that what is written stays in proportion to
//! what changed, whatever the size of the state.

use std::sync::Arc;

use openraft::{AsyncRuntime, Raft};
use store::engine::Engine;

use crate::behind::Behind;
use crate::snapshot::SnapshotDir;
use crate::state_machine::StateMachine;
use crate::types::Types;
use crate::wal::Wal;

pub(crate) struct Snapshotter<R: AsyncRuntime> {
    pub(crate) raft: Raft<Types<R>, StateMachine<R>>,
    pub(crate) wal: Wal,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) snapshots: SnapshotDir,
    pub(crate) behind: Arc<Behind>,
    pub(crate) log_bytes_min: u64,
}

impl<R: AsyncRuntime> Snapshotter<R> {
    /// Takes snapshots when they are due, until the node closes or fails.
    pub(crate) async fn run(self) {
        while self.behind.snapshot.wait().await {
            if self.is_due() && !self.take().await {
                return;
            }
        }
    }

    fn is_due(&self) -> bool {
        let newest = self.snapshots.newest().and_then(|newest| newest.index());
        let log_bytes = newest.map_or(self.wal.bytes(), |index| self.wal.bytes_after(index));
        let reader = self.behind.reader();
        // A snapshot of the same moment again would be none.
        newest.is_none_or(|index| index + 1 < reader.position().index)
            && log_bytes > self.log_bytes_min.max(reader.size().live_bytes / 2)
    }

    /// False if the node is ending.
    async fn take(&self) -> bool {
        let before = self.snapshots.newest().and_then(|newest| newest.index());
        if self.raft.trigger().snapshot().await.is_err() {
            return false;
        }
        let taken = |index: Option<u64>| index > before;
        let wait = self.raft.wait(None);
        let taken = wait.metrics(|m| taken(m.snapshot.map(|log_id| log_id.index)), "a snapshot");
        if taken.await.is_err() {
            return false;
        }
        self.purge().await
    }

    async fn purge(&self) -> bool {
        let Some(upto) = self.snapshots.purge_to() else { return true };
        // The engine's mark must not fall out of the log: it would have to be rebuilt.
        let (engine, behind) = (self.engine.clone(), self.behind.clone());
        let flushed = R::spawn_blocking(move || {
            behind.flush_all().map_err(std::io::Error::other)?;
            engine.flush()
        });
        if let Err(error) = flushed.await.and_then(|flushed| flushed) {
            self.behind.engine_failed(&error.to_string());
            return false;
        }
        self.raft.trigger().purge_log(upto).await.is_ok()
    }
}
