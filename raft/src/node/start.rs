//! Starting a node: open, assemble, spawn, lead.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::async_runtime::Select2;
use openraft::errors::{InitializeError, RaftError};
use openraft::{AsyncRuntime, Instant, Raft, ServerState};
use parking_lot::Mutex;
use watch::Hub;

use super::{Held, Inner, Node};
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
use crate::open::{self, Opened, RunWriter, Surroundings};
use crate::snapshotter::Snapshotter;
use crate::state_machine::{self, StateMachine};
use crate::types::Peer;

/// How often the watch hub is told the time.
const HUB_TICK: Duration = Duration::from_millis(100);

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
        let Surroundings { vfs, engines, run_writer } = surroundings;
        let opening = config.clone();
        let opened = R::spawn_blocking(move || open::open(&opening, vfs, engines)).await;
        let opened = opened.map_err(|error| Error::Fatal(format!("opening failed: {error}")))??;

        let node = Node::assemble(&config, raft_config, opened, run_writer).await?;
        if let Err(error) = node.lead(&config).await {
            node.shutdown().await;
            return Err(node.known(error));
        }
        Ok(node)
    }

    async fn assemble(
        config: &Config,
        raft_config: Arc<openraft::Config>,
        opened: Opened,
        run_writer: RunWriter,
    ) -> Result<Node<R>, Error> {
        let Opened { wal, writer, vote, store, engine, snapshots, lock } = opened;
        let writer = run_writer(writer)
            .map_err(|error| Error::Fatal(format!("the log's writer does not run: {error}")))?;
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
            on_applied: config.on_applied.clone(),
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
            held: Mutex::new(Some(Held { writer, lock })),
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
        let Inner { raft, wal, behind, lessor, hub, .. } = &*self.inner;
        let (raft, wal) = (raft.clone(), wal.clone());
        let (behind, lessor) = (behind.clone(), lessor.clone());
        let proposer = self.clone();
        let propose = move |command| {
            let proposer = proposer.clone();
            async move { proposer.propose(command).await }
        };
        drop(R::spawn(background::flush::<R>(behind.clone())));
        drop(R::spawn(background::compact::<R>(behind.clone())));
        drop(R::spawn(snapshotter.run()));
        drop(R::spawn(lessor::run(lessor.clone(), propose)));
        drop(R::spawn(leadership::Watcher { raft, wal, behind, lessor }.run()));
        drop(R::spawn(hub.clone().run()));
        drop(R::spawn(self.clone().tick_hub()));
        // The last stop may have cut short a compaction, or come before a snapshot that was due.
        self.inner.behind.compact.raise();
        self.inner.behind.snapshot.raise();
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
        match R::select2(ready, self.failed()).await {
            Select2::First(Ok(_)) => {}
            Select2::First(Err(_)) => return Err(self.known(Error::Stopped)),
            Select2::Second(failure) => return Err(failure),
        }
        self.inner.lessor.leading().await;
        self.linearizable().await
    }
}
