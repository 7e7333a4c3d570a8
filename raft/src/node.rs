//! The node: everything a server needs from consensus, in one handle.
//!
//! Writes go in through [`Node::propose`]; reads go to [`Node::reader`], after
//! [`Node::linearizable`] if they must see everything that was acknowledged before them.

mod corruption;
mod duties;
mod leases;
mod members;
mod propose;
mod stalled;
mod start;
mod transfer;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::channel::oneshot;
use futures::lock::Mutex as AsyncMutex;
use openraft::async_runtime::WatchReceiver;
use openraft::{AsyncRuntime, Raft, RaftMetrics, ServerState};
use parking_lot::Mutex;
use store::Reader;
use store::engine::Engine;
use watch::Hub;

use crate::admission::Admission;
use crate::background;
use crate::barrier::Barrier;
use crate::behind::Behind;
use crate::error::{self, Error};
use crate::forward::Forwarder;
use crate::leaders::Leaders;
use crate::lessor::Lessor;
use crate::open::Ended;
use crate::peer::{Heard, Identity, Network, Roster};
use crate::read_index::ReadIndex;
use crate::runtime::Runtime;
use crate::snapshot::{SnapshotDir, SnapshotHeader};
use crate::state_machine::StateMachine;
use crate::tally::Tally;
use crate::types::Types;
use crate::vfs::Lock;
use crate::wal::{self, Wal};

pub use corruption::Agreement;
pub use members::MembersError;
use members::Rules;

/// A member of the cluster. Clones share it; it runs until [`Node::shutdown`].
pub struct Node<R: AsyncRuntime> {
    inner: Arc<Inner<R>>,
}

/// The node of the server.
pub type ServerNode = Node<Runtime>;

struct Inner<R: AsyncRuntime> {
    raft: Raft<Types<R>, StateMachine<R>>,
    wal: Wal,
    engine: Arc<dyn Engine>,
    behind: Arc<Behind>,
    hub: Hub,
    lessor: Lessor<R>,
    barrier: Barrier,
    read_index: ReadIndex<R>,
    admission: Admission,
    tally: Tally,
    identity: Identity,
    roster: Roster,
    network: Network<R>,
    forwarder: Forwarder<R>,
    leaders: Leaders<R>,
    heard: Heard<R>,
    snapshots: SnapshotDir,
    rules: Rules,
    auto_promote: bool,
    /// Held by whoever changes the members.
    changing: AsyncMutex<()>,
    request_timeout: Duration,
    stopping: AtomicBool,
    /// What ends with the node.
    held: Mutex<Option<Held>>,
}

struct Held {
    writer: Ended,
    /// Of the data directory; released last.
    lock: Box<dyn Lock>,
}

/// How the node is doing. Indexes and terms are counted as etcd does: the first entry is 1, and
/// the bootstrap is term 1 (openraft counts both from 0).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub term: u64,
    /// The leader's member id, if there is one.
    pub leader: Option<u64>,
    /// The last entry in this node's log.
    pub last_index: u64,
    /// The last entry known to be committed.
    pub committed_index: u64,
    /// The last entry applied to the store.
    pub applied_index: u64,
    pub is_learner: bool,
    /// The last entry in the newest snapshot; 0 without one.
    pub snapshot_index: u64,
    /// The last entry that the log has not got any more; 0: it has all. Told before it is durable.
    pub purged_index: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Bytes of commands proposed and not yet answered.
    pub inflight_bytes: usize,
    /// Proposals of this member that wait for their outcome.
    pub proposals_pending: u64,
    /// Those that were given up or refused since the start.
    pub proposals_failed: u64,
    /// How often there was another leader than before, since the start.
    pub leader_changes: u64,
    /// Writes to the log since the start, each with one sync.
    pub log: wal::Stats,
}

/// A consistent view of the whole state at one revision. While it exists, compaction leaves alone
/// what it needs.
pub struct Backup {
    header: SnapshotHeader,
    view: store::Snapshot,
}

impl Backup {
    /// The store's revision in it.
    pub fn revision(&self) -> i64 {
        self.view.revision()
    }

    /// Streams it as a snapshot file: the same bytes as in the data directory. Blocks; whoever
    /// wants it slower gives a slower writer.
    pub fn write_to(self, mut out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.header.encode())?;
        self.view.write_to(&mut out).map_err(io::Error::other)
    }
}

impl<R: AsyncRuntime> Node<R> {
    /// Returns when [`Node::reader`] shows at least everything that was acknowledged, by any
    /// member, before the call. Calls that wait together share their cost. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Stopped`], [`Error::Fatal`].
    pub async fn linearizable(&self) -> Result<(), Error> {
        self.check_alive()?;
        match R::timeout(self.inner.request_timeout, self.inner.barrier.pass::<R>()).await {
            Ok(outcome) => outcome.map_err(|error| self.known(error)),
            Err(_) => Err(Error::Timeout),
        }
    }

    /// The store, as this node has applied it so far. To be taken anew for each request: an
    /// installed snapshot brings another.
    pub fn reader(&self) -> Reader {
        self.inner.behind.reader()
    }

    pub fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    pub fn lessor(&self) -> &Lessor<R> {
        &self.inner.lessor
    }

    pub fn member_id(&self) -> u64 {
        self.inner.identity.member_id
    }

    pub fn cluster_id(&self) -> u64 {
        self.inner.identity.cluster_id
    }

    /// What tells this data directory from any other: to be published with the member's name, so
    /// that a lost disk is noticed. 0: not known.
    pub fn incarnation(&self) -> u64 {
        self.inner.identity.incarnation
    }

    /// The leader's member id, if there is one that is alive. Of a leader that has lost its
    /// followers, or a follower that has lost its leader, it is `None` after about the time an
    /// election takes.
    pub fn leader(&self) -> Option<u64> {
        self.inner.leaders.id(self.member_id())
    }

    /// [`Status::term`] alone: it stands in the header of every answer.
    pub fn term(&self) -> u64 {
        self.inner.raft.metrics().borrow_watched().current_term + 1
    }

    /// [`Status::is_learner`] alone: asked before every call.
    pub fn is_learner(&self) -> bool {
        is_learner(&self.inner.raft.metrics().borrow_watched())
    }

    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        Status {
            term: metrics.current_term + 1,
            leader: self.leader(),
            last_index: metrics.last_log_index.map_or(0, |index| index + 1),
            committed_index: metrics.local_committed.map_or(0, |log_id| log_id.index + 1),
            applied_index: self.reader().position().index,
            is_learner: is_learner(&metrics),
            snapshot_index: metrics.snapshot.map_or(0, |log_id| log_id.index + 1),
            purged_index: metrics.purged.map_or(0, |log_id| log_id.index + 1),
            log_bytes: self.inner.wal.bytes(),
            inflight_bytes: self.inner.admission.inflight_bytes(),
            proposals_pending: self.inner.tally.pending(),
            proposals_failed: self.inner.tally.failed(),
            leader_changes: self.inner.tally.leader_changes(),
            log: self.inner.wal.stats(),
        }
    }

    /// Returns when all that the last compaction made superfluous is removed, but for what a reader
    /// still needs. It happens anyway, in small steps; this does it without pauses.
    ///
    /// # Errors
    /// [`Error::Fatal`] if the engine failed.
    pub async fn compact_physically(&self) -> Result<(), Error> {
        fail::fail_point!("defragBeforeCopy");
        background::compact_now::<R>(&self.inner.behind).await;
        fail::fail_point!("defragBeforeRename");
        self.check_alive()
    }

    /// A consistent view of the whole state, to be saved elsewhere. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::Fatal`].
    pub async fn backup(&self) -> Result<Backup, Error> {
        self.check_alive()?;
        let view = self.inner.raft.with_state_machine(|machine: &mut StateMachine<R>| {
            let view = machine.view();
            Box::pin(async move { view })
        });
        let view = view.await.map_err(|fatal| self.known(Error::of_fatal(&fatal)))?;
        let (header, view) = view.map_err(|error| Error::Fatal(error.to_string()))?;
        Ok(Backup { header, view })
    }

    /// Resolves with what made it impossible to go on; the process must then end with an error.
    /// Never resolves for a node that is well or was shut down. Cancel safe.
    pub async fn failed(&self) -> Error {
        Error::Fatal(self.inner.behind.failure.wait().await)
    }

    /// Stops: nothing more is accepted, what was applied is written to the engine, the files are
    /// released. A second call does nothing.
    pub async fn shutdown(&self) {
        if self.inner.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop cleanly");
        }
        self.inner.lessor.close();
        self.inner.hub.close();
        self.inner.behind.close();
        self.flush_engine().await;
        self.inner.wal.close();
        let held = self.inner.held.lock().take();
        if let Some(Held { writer, lock }) = held {
            // Cancelled is how it ends.
            let _ = writer.await;
            drop(lock);
        }
    }

    async fn flush_engine(&self) {
        // The engine takes nothing that the log has not synced. A log that failed says so elsewhere.
        let (tx, synced) = oneshot::channel();
        self.inner.wal.append(Vec::new(), Box::new(move |result| drop(tx.send(result))));
        let _ = synced.await;
        let (behind, engine) = (self.inner.behind.clone(), self.inner.engine.clone());
        let left = R::spawn_blocking(move || behind.leave(&*engine));
        if let Err(error) = left.await.and_then(|left| left) {
            // The next start notices, and replays or rebuilds.
            tracing::warn!(%error, "the engine was not flushed");
        }
    }

    fn check_alive(&self) -> Result<(), Error> {
        if let Some(message) = self.inner.behind.failure.get() {
            return Err(Error::Fatal(message.to_owned()));
        }
        if self.inner.stopping.load(Ordering::Acquire) {
            return Err(Error::Stopped);
        }
        Ok(())
    }

    /// The error, unless a failure that is known explains it better.
    fn known(&self, error: Error) -> Error {
        if let Some(message) = self.inner.behind.failure.get() {
            return Error::Fatal(message.to_owned());
        }
        match (&error, self.inner.wal.failed()) {
            (Error::Fatal(_), Some(cause)) => Error::Fatal(error::with_advice(&cause)),
            _ => error,
        }
    }
}

/// openraft takes a member that was removed for a learner too. That one is about to end, and its
/// clients should go to another; of a learner they would keep away.
fn is_learner<R: AsyncRuntime>(metrics: &RaftMetrics<Types<R>>) -> bool {
    let is_member = metrics.membership_config.membership().get_node(&metrics.id).is_some();
    metrics.state == ServerState::Learner && is_member
}

impl<R: AsyncRuntime> Clone for Node<R> {
    fn clone(&self) -> Self {
        Node { inner: self.inner.clone() }
    }
}
