//! When a snapshot is taken, and how far the log is purged after it.
//!
//! Openraft would count entries; we count bytes, so that what is written stays in proportion to
//! what changed, whatever the size of the state.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::Select2;
use openraft::metrics::WaitError;
use openraft::{AsyncRuntime, Raft};
use store::engine::Engine;

use crate::behind::Behind;
use crate::snapshot::SnapshotDir;
use crate::state_machine::StateMachine;
use crate::types::Types;
use crate::wal::Wal;

/// How often a failure is looked for while one is being written.
const LOOK: Duration = Duration::from_secs(1);

/// After a failure, until the next try.
const PAUSE: Duration = Duration::from_secs(60);

/// What came of a try.
enum Took {
    One,
    /// It could not be written.
    None,
    /// The node is ending.
    End,
}

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
            if !self.is_due() {
                continue;
            }
            match self.take().await {
                Took::One => {}
                Took::None => self.pause().await,
                Took::End => return,
            }
        }
    }

    /// After a failure, so that a full disk is not written to all the time.
    async fn pause(&self) {
        let mut over = Box::pin(R::sleep(PAUSE));
        // Raised meanwhile it is due all the same; closed, or after the pause, this ends.
        while let Select2::First(true) =
            R::select2(Box::pin(self.behind.snapshot.wait()), &mut over).await
        {}
        // It is still due.
        self.behind.snapshot.raise();
    }

    fn is_due(&self) -> bool {
        let newest = self.snapshots.newest().and_then(|newest| newest.index());
        let log_bytes = newest.map_or(self.wal.bytes(), |index| self.wal.bytes_after(index));
        let reader = self.behind.reader();
        let is_long = log_bytes > self.log_bytes_min.max(reader.size().live_bytes / 2);
        // A snapshot of the same moment again would be none.
        newest.is_none_or(|index| index + 1 < reader.position().index)
            && (is_long || self.snapshots.is_one_wanted())
    }

    async fn take(&self) -> Took {
        let before = self.snapshots.newest().and_then(|newest| newest.index());
        let failures = self.snapshots.failures();
        if self.raft.trigger().snapshot().await.is_err() {
            return Took::End;
        }
        let taken = |index: Option<u64>| index > before;
        loop {
            let wait = self.raft.wait(Some(LOOK));
            let taken = wait.metrics(|m| taken(m.snapshot.map(|it| it.index)), "a snapshot");
            match taken.await {
                Ok(_) => return if self.purge().await { Took::One } else { Took::End },
                Err(WaitError::Timeout(..)) if self.snapshots.failures() > failures => {
                    return Took::None;
                }
                Err(WaitError::Timeout(..)) => {}
                Err(WaitError::ShuttingDown) => return Took::End,
            }
        }
    }

    /// False if the node is ending.
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
