//! The node: everything a server needs from consensus, in one handle.
//!
//! Writes go in through [`Node::propose`]; reads go to [`Node::reader`], after
//! [`Node::linearizable`] if they must see everything that was acknowledged before them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::berthpb::Command;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{InitializeError, RaftError};
use openraft::{AsyncRuntime, Instant, Raft, ServerState};
use openraft_rt_tokio::TokioRuntime;
use parking_lot::Mutex;
use store::engine::Engine;
use store::{Applied, Reader};
use watch::Hub;

use crate::admission::Admission;
use crate::background;
use crate::barrier::Barrier;
use crate::behind::Behind;
use crate::config::Config;
use crate::error::Error;
use crate::leadership;
use crate::lessor::{self, Lessor};
use crate::log_store::LogStore;
use crate::network::NoNetwork;
use crate::open::{self, Opened, Surroundings};
use crate::snapshot::SnapshotHeader;
use crate::snapshotter::Snapshotter;
use crate::state_machine::{self, StateMachine};
use crate::types::{Peer, Proposal, Types};
use crate::vfs::Lock;
use crate::wal::{self, Wal};

/// How often the watch hub is told the time.
const HUB_TICK: Duration = Duration::from_millis(100);

/// A member of the cluster. Clones share it.
pub struct Node<R: AsyncRuntime> {
    inner: Arc<Inner<R>>,
}

/// The node of the server.
pub type ServerNode = Node<TokioRuntime>;

struct Inner<R: AsyncRuntime> {
    raft: Raft<Types<R>, StateMachine<R>>,
    wal: Wal,
    engine: Arc<dyn Engine>,
    behind: Arc<Behind>,
    hub: Hub,
    lessor: Lessor<R>,
    barrier: Barrier,
    admission: Admission,
    member_id: u64,
    request_timeout: Duration,
    stopping: AtomicBool,
    /// Released when the node has stopped.
    lock: Mutex<Option<Box<dyn Lock>>>,
}

/// How the node is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// As etcd counts: it calls its bootstrap term 1, openraft 0.
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
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Bytes of commands proposed and not yet answered.
    pub inflight_bytes: usize,
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
    /// Starts the node on the machine's files; returns once it leads and has applied everything
    /// that was committed, so that it can serve at once.
    ///
    /// # Errors
    /// [`Error::Refused`] if it cannot start on this configuration or these directories;
    /// [`Error::Fatal`] if it failed on the way.
    pub async fn start(config: Config) -> Result<Node<R>, Error> {
        let surroundings = Surroundings::real(&config);
        Node::start_in(config, surroundings).await
    }

    /// [`Node::start`] on given files and engine.
    pub async fn start_in(config: Config, surroundings: Surroundings) -> Result<Node<R>, Error> {
        config.check()?;
        let raft_config = Arc::new(config.openraft()?);
        let opening = config.clone();
        let opened = R::spawn_blocking(move || open::open(&opening, surroundings)).await;
        let opened = opened.map_err(|error| Error::Fatal(format!("opening failed: {error}")))??;

        let node = Node::assemble(&config, raft_config, opened).await?;
        if let Err(error) = node.lead(&config).await {
            node.shutdown().await;
            return Err(match node.inner.behind.failure.get() {
                Some(message) => Error::Fatal(message.to_owned()),
                None => error,
            });
        }
        Ok(node)
    }

    /// Proposes a command and waits until it is applied. [`Applied::result`] is the state
    /// machine's own answer. If the call is dropped, the command may be applied all the same.
    ///
    /// # Errors
    /// After [`Error::Timeout`] and [`Error::LeaderChanged`] it may be applied; after all others
    /// but [`Error::Fatal`] and [`Error::Stopped`] it is not.
    pub async fn propose(&self, command: Command) -> Result<Applied, Error> {
        self.check_alive()?;
        let proposal = Proposal::new(command);
        let _permit = self.inner.admission.enter(proposal.encoded_len())?;
        let write = self.inner.raft.client_write(proposal);
        match R::timeout(self.inner.request_timeout, write).await {
            Ok(Ok(written)) => Ok(written.data),
            Ok(Err(error)) => Err(self.known(Error::of_write(error))),
            Err(_) => Err(Error::Timeout),
        }
    }

    /// Returns when [`Node::reader`] shows at least everything that was acknowledged, by any
    /// member, before the call. Calls that wait together share their cost. Cancel safe.
    ///
    /// # Errors
    /// [`Error::NoLeader`], [`Error::Timeout`], [`Error::Stopped`], [`Error::Fatal`].
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
        self.inner.member_id
    }

    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        Status {
            term: metrics.current_term + 1,
            leader: metrics.current_leader,
            last_index: metrics.last_log_index.unwrap_or(0),
            committed_index: metrics.local_committed.map_or(0, |log_id| log_id.index),
            applied_index: self.reader().position().index,
            is_learner: metrics.state == ServerState::Learner,
            snapshot_index: metrics.snapshot.map_or(0, |log_id| log_id.index),
            log_bytes: self.inner.wal.bytes(),
            inflight_bytes: self.inner.admission.inflight_bytes(),
            log: self.inner.wal.stats(),
        }
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
        drop(self.inner.lock.lock().take());
    }

    async fn assemble(
        config: &Config,
        raft_config: Arc<openraft::Config>,
        opened: Opened,
    ) -> Result<Node<R>, Error> {
        let Opened { wal, vote, store, engine, snapshots, lock } = opened;
        let behind = Arc::new(Behind::new(&store));
        let lessor = Lessor::new(config.lease_ttl_s_min());
        let (hub, publisher) = Hub::new(store.reader(), config.watch);
        let machine = StateMachine::new(state_machine::Parts {
            store,
            engine: engine.clone(),
            options: config.store.clone(),
            cluster_id: config.cluster_id,
            publisher,
            lessor: lessor.clone(),
            snapshots: snapshots.clone(),
            behind: behind.clone(),
        });
        let log = LogStore::new(wal.clone(), vote);
        let raft = Raft::new(config.member_id, raft_config, NoNetwork, log, machine).await;
        let raft = raft.map_err(|fatal| Error::of_fatal(&fatal))?;
        let inner = Arc::new(Inner {
            barrier: Barrier::new(raft.clone(), behind.clone()),
            admission: Admission::new(config.inflight_bytes_max),
            member_id: config.member_id,
            request_timeout: config.request_timeout(),
            stopping: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
            raft: raft.clone(),
            wal: wal.clone(),
            engine: engine.clone(),
            behind: behind.clone(),
            lessor: lessor.clone(),
            hub,
        });
        let node = Node { inner };
        let log_bytes_min = config.snapshot_log_bytes_min;
        let snapshotter = Snapshotter { raft, wal, engine, snapshots, behind, log_bytes_min };
        node.spawn_tasks(snapshotter);
        Ok(node)
    }

    fn spawn_tasks(&self, snapshotter: Snapshotter<R>) {
        let Inner { raft, behind, lessor, hub, .. } = &*self.inner;
        let (raft, behind, lessor) = (raft.clone(), behind.clone(), lessor.clone());
        let proposer = self.clone();
        let propose = move |command| {
            let proposer = proposer.clone();
            async move { proposer.propose(command).await }
        };
        drop(R::spawn(background::flush::<R>(behind.clone())));
        drop(R::spawn(background::compact::<R>(behind.clone())));
        drop(R::spawn(snapshotter.run()));
        drop(R::spawn(lessor::run(lessor.clone(), propose)));
        drop(R::spawn(leadership::Watcher { raft, behind, lessor }.run()));
        drop(R::spawn(hub.clone().run()));
        drop(R::spawn(self.clone().tick_hub()));
        // A compaction may have been cut short by the last stop.
        self.inner.behind.compact.raise();
    }

    async fn tick_hub(self) {
        let start = R::Instant::now();
        while !self.inner.stopping.load(Ordering::Acquire) {
            let now_ms = R::Instant::now().saturating_duration_since(start).as_millis();
            self.inner.hub.tick(u64::try_from(now_ms).unwrap_or(u64::MAX));
            R::sleep(HUB_TICK).await;
        }
    }

    /// Makes this node the leader, of a new cluster if it has met none, and waits until it has
    /// applied all that its log held.
    async fn lead(&self, config: &Config) -> Result<(), Error> {
        let raft = &self.inner.raft;
        let peers: BTreeMap<u64, Peer> = config
            .members
            .iter()
            .map(|it| (it.id, Peer { name: it.name.clone(), peer_urls: it.peer_urls.clone() }))
            .collect();
        match raft.initialize(peers).await {
            // Not allowed: it was initialized by an earlier run.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(RaftError::APIError(error)) => return Err(Error::Refused(error.to_string())),
            Err(RaftError::Fatal(fatal)) => return Err(Error::of_fatal(&fatal)),
        }
        // There is nobody to wait for an election timeout for.
        raft.trigger().elect(false).await.map_err(|fatal| Error::of_fatal(&fatal))?;
        let wait = raft.wait(None);
        let ready = wait.metrics(
            |metrics| {
                let applied = metrics.last_applied.map(|log_id| log_id.index);
                metrics.state == ServerState::Leader && applied >= metrics.last_log_index
            },
            "lead and apply the log",
        );
        ready.await.map_err(|_| self.known(Error::Stopped))?;
        self.linearizable().await
    }

    async fn flush_engine(&self) {
        let (behind, engine) = (self.inner.behind.clone(), self.inner.engine.clone());
        let flushed = R::spawn_blocking(move || {
            behind.flush_all().map_err(io::Error::other)?;
            engine.flush()
        });
        if let Err(error) = flushed.await.and_then(|flushed| flushed) {
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
        match self.inner.behind.failure.get() {
            Some(message) => Error::Fatal(message.to_owned()),
            None => error,
        }
    }
}

impl<R: AsyncRuntime> Clone for Node<R> {
    fn clone(&self) -> Self {
        Node { inner: self.inner.clone() }
    }
}

#[cfg(test)]
mod tests;
