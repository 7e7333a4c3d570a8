//! Starting a node: open, assemble, spawn, find the cluster.

mod alone;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::lock::Mutex as AsyncMutex;
use openraft::async_runtime::{Select2, WatchReceiver};
use openraft::errors::{InitializeError, RaftError};
use openraft::{AsyncRuntime, Instant, Raft, ServerState};
use parking_lot::Mutex;
use watch::Hub;

use super::members::Rules;
use super::{Held, Inner, Node};
use crate::admission::Admission;
use crate::background;
use crate::barrier::Barrier;
use crate::behind::Behind;
use crate::config::Config;
use crate::error::Error;
use crate::forward::{Forwarder, Waiters};
use crate::leaders::Leaders;
use crate::leadership;
use crate::lessor::{self, Lessor};
use crate::log_store::LogStore;
use crate::open::{self, Opened, Surroundings};
use crate::peer::{Heard, Network, Receiver, Roster, Service};
use crate::read_index::ReadIndex;
use crate::snapshotter::Snapshotter;
use crate::sole::Sole;
use crate::state_machine::{self, StateMachine};
use crate::tally::Tally;
use crate::types::{Membership, Peer};

/// How often the watch hub is told the time.
const HUB_TICK: Duration = Duration::from_millis(100);

impl<R: AsyncRuntime> Node<R> {
    /// Starts a member that is alone, on the machine's files. See [`Node::start_in`].
    ///
    /// # Errors
    /// Those of [`Node::start_in`].
    pub async fn start(config: Config) -> Result<Node<R>, Error> {
        let surroundings = Surroundings::real(&config);
        Node::start_in(config, surroundings).await
    }

    /// Starts the node. A member that is alone leads when this returns, and has applied everything
    /// that was committed. One of several returns as soon as it can hear the others: see
    /// [`Node::ready`].
    ///
    /// # Errors
    /// [`Error::Refused`] if it cannot start on this configuration or these directories;
    /// [`Error::Fatal`] if it failed on the way.
    pub fn start_in(
        config: Config,
        surroundings: Surroundings,
    ) -> BoxFuture<'static, Result<Node<R>, Error>> {
        Box::pin(Node::open_and_join(config, surroundings))
    }

    async fn open_and_join(config: Config, surroundings: Surroundings) -> Result<Node<R>, Error> {
        config.check()?;
        let raft_config = Arc::new(config.openraft()?);
        let Surroundings { vfs, engines, transport, run_writer, log_salt } = surroundings;
        let opening = config.clone();
        let opened = R::spawn_blocking(move || open::open(&opening, vfs, engines, log_salt)).await;
        let opened = opened.map_err(|error| Error::Fatal(format!("opening failed: {error}")))??;

        let node = Node::assemble(&config, raft_config, opened, run_writer, transport).await?;
        if let Err(error) = node.find_cluster(&config).await {
            node.shutdown().await;
            return Err(node.known(error));
        }
        Ok(node)
    }

    /// What hears other members: to be given everything that comes in on their addresses.
    pub fn receiver(&self) -> Arc<dyn Receiver> {
        Arc::new(Service {
            raft: self.inner.raft.clone(),
            identity: self.inner.identity,
            roster: self.inner.roster.clone(),
            behind: self.inner.behind.clone(),
            snapshots: self.inner.snapshots.clone(),
            heard: self.inner.heard.clone(),
            duties: Arc::new(self.clone()),
            receiving: Arc::default(),
        })
    }

    async fn assemble(
        config: &Config,
        raft_config: Arc<openraft::Config>,
        mut opened: Opened,
        run_writer: crate::RunWriter,
        transport: Arc<dyn crate::peer::Transport>,
    ) -> Result<Node<R>, Error> {
        let writer = run_writer(opened.take_writer())
            .map_err(|error| Error::Fatal(format!("the log's writer does not run: {error}")))?;
        if config.force_new_cluster {
            alone::make_only_member(&mut opened).await?;
        }
        let Opened { wal, vote, identity, store, engine, snapshots, lock, .. } = opened;
        let durable = wal.clone();
        let durable = Box::new(move || durable.durable_next_index());
        let behind = Arc::new(Behind::new(&store, durable));
        let lessor = Lessor::new(config.lease_ttl_s_min(), config.lease_checkpoint_interval);
        let roster = Roster::default();
        roster.follow(&store.reader()).map_err(|error| Error::Fatal(error.to_string()))?;
        let waiters = Waiters::new(config.nonce);
        let network = Network::new(
            transport,
            identity,
            roster.clone(),
            behind.clone(),
            snapshots.clone(),
            config.limits(),
        );
        let (hub, publisher) = Hub::new(store.reader(), config.watch);
        let sole = Sole::new(identity.member_id);
        let machine = StateMachine::new(state_machine::Parts {
            store,
            engine: engine.clone(),
            options: config.store.clone(),
            cluster_id: identity.cluster_id,
            member_id: identity.member_id,
            publisher,
            lessor: lessor.clone(),
            on_applied: config.on_applied.clone(),
            log_next: wal.next_index(),
            snapshots: snapshots.clone(),
            snapshot_log_bytes_min: config.snapshot_log_bytes_min,
            behind: behind.clone(),
            roster: roster.clone(),
            waiters: waiters.clone(),
            sole: sole.clone(),
        });
        let log = LogStore::new(wal.clone(), vote, sole.clone());
        let raft = Raft::new(identity.member_id, raft_config, network.clone(), log, machine).await;
        let raft = raft.map_err(|fatal| Error::of_fatal(&fatal))?;
        let heard = Heard::new();
        let leaders = Leaders::new(raft.clone(), heard.clone(), config.leader_lost_after());
        let read_index = ReadIndex {
            raft: raft.clone(),
            leaders: leaders.clone(),
            network: network.clone(),
            behind: behind.clone(),
            sole,
            timeout: config.request_timeout(),
        };
        let inner = Arc::new(Inner {
            barrier: Barrier::new(read_index.clone()),
            read_index,
            admission: Admission::new(config.inflight_bytes_max),
            tally: Tally::default(),
            forwarder: Forwarder::new(
                identity.member_id,
                network.clone(),
                leaders.clone(),
                waiters,
                config.request_timeout(),
                config.outcome_grace(),
            ),
            identity,
            roster,
            network,
            leaders,
            heard,
            snapshots: snapshots.clone(),
            rules: Rules { strict: config.strict_reconfig, learners_max: config.learners_max },
            auto_promote: config.auto_promote,
            changing: AsyncMutex::default(),
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
        if let Some(interval) = config.corrupt_check_interval {
            drop(R::spawn(node.clone().watch_for_corruption(interval)));
        }
        drop(R::spawn(node.clone().leave_when_stalled(config.log_stall_max())));
        let log_bytes_min = config.snapshot_log_bytes_min;
        let snapshotter = Snapshotter { raft, wal, engine, snapshots, behind, log_bytes_min };
        node.spawn_tasks(snapshotter);
        Ok(node)
    }

    fn spawn_tasks(&self, snapshotter: Snapshotter<R>) {
        let Inner { raft, wal, behind, lessor, hub, network, roster, identity, .. } = &*self.inner;
        let (raft, wal) = (raft.clone(), wal.clone());
        let (behind, lessor) = (behind.clone(), lessor.clone());
        let proposer = self.clone();
        // Never through another leader: this clock counts only while this member leads.
        let propose = move |command| {
            let proposer = proposer.clone();
            async move { proposer.propose_here(command).await }
        };
        drop(R::spawn(background::flush::<R>(behind.clone())));
        drop(R::spawn(background::compact::<R>(behind.clone())));
        drop(R::spawn(snapshotter.run()));
        drop(R::spawn(lessor::run(lessor.clone(), propose.clone())));
        drop(R::spawn(lessor::run_checkpoints(lessor.clone(), propose)));
        let (network, roster) = (network.clone(), roster.clone());
        let member_id = identity.member_id;
        let tally = self.inner.tally.clone();
        let watcher =
            leadership::Watcher { raft, wal, behind, lessor, network, roster, tally, member_id };
        drop(R::spawn(watcher.run()));
        drop(R::spawn(hub.clone().run()));
        drop(R::spawn(self.clone().tick_hub()));
        drop(R::spawn(self.clone().promote_learners()));
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

    /// Begins a new cluster, if this member has met none and was not told to join one; and leads
    /// it, if it is alone.
    async fn find_cluster(&self, config: &Config) -> Result<(), Error> {
        if !config.members.is_empty() {
            self.initialize(config).await?;
        }
        // Not from the metrics: openraft updates those a moment later.
        let membership = self
            .inner
            .raft
            .with_raft_state(|state| state.membership_state.effective().membership().clone());
        let membership = membership.await.map_err(|fatal| Error::of_fatal(&fatal))?;
        let voters: Vec<u64> = membership.voter_ids().collect();
        if self.inner.roster.is_removed(self.member_id()) {
            return Err(Error::Refused(crate::peer::removed(self.member_id())));
        }
        if voters == [self.member_id()] { self.lead().await } else { Ok(()) }
    }

    /// The newest membership in the log, committed or not.
    pub(super) fn membership(&self) -> Membership {
        let metrics = self.inner.raft.metrics();
        let stored = metrics.borrow_watched().membership_config.clone();
        stored.membership().clone()
    }

    async fn initialize(&self, config: &Config) -> Result<(), Error> {
        let peer = |it: &crate::InitialMember| Peer {
            name: it.name.clone(),
            peer_urls: it.peer_urls.clone(),
            wants_vote: false,
        };
        let peers: BTreeMap<u64, Peer> =
            config.members.iter().map(|it| (it.id, peer(it))).collect();
        match self.inner.raft.initialize(peers).await {
            // Not allowed: it was initialized by an earlier run, or by a leader this moment.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error)) => Err(Error::Refused(error.to_string())),
            Err(RaftError::Fatal(fatal)) => Err(Error::of_fatal(&fatal)),
        }
    }

    /// Makes this node the leader of itself, and waits until it has applied all that its log held.
    async fn lead(&self) -> Result<(), Error> {
        let raft = &self.inner.raft;
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

    /// Returns when this member can serve: somebody leads, it has caught up with what was
    /// acknowledged before, and if it is to be a voter it is one. Tries for as long as it takes.
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::Fatal`].
    pub async fn ready(&self) -> Result<(), Error> {
        loop {
            match self.linearizable().await {
                Ok(()) if !self.waits_for_vote() => return Ok(()),
                Err(error @ (Error::Stopped | Error::Fatal(_))) => return Err(error),
                _ => self.inner.leaders.news().await,
            }
        }
    }

    fn waits_for_vote(&self) -> bool {
        let membership = self.membership();
        let own = membership.get_node(&self.member_id());
        own.is_none_or(|own| own.wants_vote)
    }
}
