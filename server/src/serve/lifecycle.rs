//! Opening everything in order, waiting, and closing it in the reverse order.

use std::sync::Arc;
use std::time::Duration;

use raft::peer::Transport;
use raft::{AppliedObserver, Config, InitialMember, ServerNode, Surroundings};
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Connections, Tls};
use super::end_streams::EndStreams;
use super::leaderless::Leaderless;
use super::listen::{Bound, Listener};
use super::{
    addresses, auto_compaction, bootstrap, data_dir, greeting, listen, member, publish, signals,
};
use crate::config::{InitialCluster, Settings};
use crate::http::{Metrics, PeerMetrics};
use crate::traces::Traces;
use crate::{discovery, grpc, orchestrator, peer, v2};

/// How long another member may take to lead in this one's place.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);

/// How long requests under way may take to end after that; and those of other members again.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// How long the node may take to hand over what it holds in memory.
const SHUTDOWN_MAX: Duration = Duration::from_secs(30);

/// How long clients wait for a member that finds no leader, before it serves them what it can.
const READY_MAX: Duration = Duration::from_secs(5);

/// Serves until a signal comes (`Ok`) or something makes it impossible (`Err`, one line).
pub(super) async fn serve(
    settings: Settings,
    bare: bool,
    orchestrator: orchestrator::flags::Flags,
    dns: discovery::serve::Flags,
) -> Result<(), String> {
    let mut signals = signals::Signals::install()?;
    let tokens = grpc::Tokens::open(&settings.auth_token)?;
    data_dir::check(&settings)?;
    let tls = Tls::open(&settings)?;
    let (for_members, for_clients) = bind(&settings)?;
    let orchestrator = orchestrator::serve::open(orchestrator, &settings).await?;
    let dns = discovery::serve::open(dns, &settings).await?;
    let greeting = bare.then(|| greeting::text(&settings, orchestrator.greeting().as_deref()));
    let metrics = Metrics::new(settings.extensive_metrics);
    if let Some(dns) = dns.metrics() {
        metrics.add_page(move || dns.render());
    }
    let notices = v2::Notices::default();
    let observer = match settings.enable_v2 {
        true => Some(notices.observer(tokens.observer())),
        false => tokens.observer(),
    };
    let started = tokio::select! {
        started = start(&settings, &metrics, observer, &tls) => started?,
        () = signals.stop() => return Ok(()),
    };
    let Started { node, peers } = started;
    metrics.attach(member::MemberMetrics::new(&node, &settings));

    let options = grpc_options(&settings, &node);
    let context = grpc::Context::new(node.clone(), options, tokens, metrics.services());
    let traces = settings.traces.as_ref().map(Traces::open).transpose()?;
    let server = Server::new(&settings, &metrics, &notices, peers, context, tls, traces.as_ref());
    let for_members = listen_all(for_members)?;
    let outcome = tokio::select! {
        error = orchestrator.run() => Err(error),
        never = dns.run() => match never {},
        () = server.run(&settings, for_members, for_clients, greeting) => Ok(()),
        () = signals.stop() => Ok(()),
        error = node.failed() => Err(error.to_string()),
    };
    server.stop().await;
    if let Some(traces) = traces {
        // It blocks, and needs the runtime meanwhile. A panic there must not hide the outcome.
        let _ = tokio::task::spawn_blocking(move || traces.close()).await;
    }
    if outcome.is_ok() {
        tracing::info!("stopped");
    }
    outcome
}

/// Takes all addresses. Clients that come early wait; other members are refused until there is
/// somebody to answer them, for they have a choice, and one that begins asks who is there already.
fn bind(settings: &Settings) -> Result<(Vec<Bound>, Vec<Listener>), String> {
    let bound = listen::bind_all(&settings.addresses)?;
    let (for_members, for_clients) = bound.into_iter().partition(|bound| bound.roles.peer);
    Ok((for_members, listen_all(for_clients)?))
}

fn listen_all(bound: Vec<Bound>) -> Result<Vec<Listener>, String> {
    bound.into_iter().map(Bound::listen).collect()
}

struct Started {
    node: ServerNode,
    peers: PeerMetrics,
}

async fn start(
    settings: &Settings,
    metrics: &Metrics,
    observer: Option<AppliedObserver>,
    tls: &Tls,
) -> Result<Started, String> {
    // Before this member knows who it is, nothing can be counted in its name.
    let uncounted = Metrics::new(false).peers(0);
    let identity = bootstrap::identify(settings, &transport(uncounted, tls)).await?;
    tracing::info!(
        member_id = format!("{:x}", identity.member_id),
        cluster_id = format!("{:x}", identity.cluster_id),
        "who this member is is settled"
    );
    data_dir::prepare(settings)?;
    let peers = metrics.peers(identity.member_id);
    let config = node_config(settings, &identity, metrics, observer);
    let mut surroundings = Surroundings::real(&config);
    surroundings.transport = transport(peers.clone(), tls);
    surroundings.engines = metrics.measured(surroundings.engines);
    let node = ServerNode::start_in(config, surroundings).await;
    Ok(Started { node: node.map_err(|error| error.to_string())?, peers })
}

fn transport(metrics: PeerMetrics, tls: &Tls) -> Arc<dyn Transport> {
    let tls = tls.members.as_ref().map(|tls| tls.connector().clone());
    peer::GrpcTransport::new(peer::Options { metrics, tls })
}

/// Everything that runs beside the node.
struct Server {
    node: ServerNode,
    /// What clients use ends first.
    stopping: CancellationToken,
    tasks: TaskTracker,
    /// What other members use ends after that: it brings the outcome of what clients wait for.
    parting: CancellationToken,
    member_tasks: TaskTracker,
    connections: Connections,
    context: grpc::Context,
    services: addresses::Services,
    leaderless: Leaderless,
}

impl Server {
    fn new(
        settings: &Settings,
        metrics: &Metrics,
        notices: &v2::Notices,
        peers: PeerMetrics,
        context: grpc::Context,
        tls: Tls,
        traces: Option<&Traces>,
    ) -> Self {
        let stopping = CancellationToken::new();
        let node = context.node().clone();
        let leaderless = Leaderless::default();
        let ending = EndStreams { stopping: stopping.clone(), leaderless: leaderless.clone() };
        let members = peer::routes(node.receiver(), peers);
        Self {
            connections: Connections::new(settings, tls, stopping.clone()),
            services: addresses::Services::new(
                settings, &context, metrics, notices, ending, members, traces,
            ),
            leaderless,
            tasks: TaskTracker::new(),
            parting: CancellationToken::new(),
            member_tasks: TaskTracker::new(),
            node,
            stopping,
            context,
        }
    }

    /// Members are heard at once: without that, nobody is ever ready. Clients are when the member
    /// has found its cluster and the cluster knows it; or, without a leader, after a while, for
    /// what needs none. Never returns.
    async fn run(
        &self,
        settings: &Settings,
        for_members: Vec<Listener>,
        for_clients: Vec<Listener>,
        greeting: Option<String>,
    ) {
        for_members.into_iter().for_each(|listener| self.listen(listener));
        let published = async {
            // A member that failed says so elsewhere.
            let _ = self.node.ready().await;
            if settings.initial_corrupt_check
                && let Err(error) = self.node.check_against_others().await
            {
                tracing::warn!(%error, "this member could not be compared with the others");
            }
            publish::publish(&self.node, settings).await;
        };
        tokio::pin!(published);
        let early = tokio::time::timeout(READY_MAX, published.as_mut()).await.is_err();
        spawn_background(&self.tasks, &self.stopping, &self.context, settings);
        let election = Duration::from_millis(settings.election_ms);
        let watch = self.leaderless.clone().watch(self.node.clone(), election);
        self.tasks.spawn(self.stopping.clone().run_until_cancelled_owned(watch));
        for_clients.into_iter().for_each(|listener| self.listen(listener));
        if early {
            tracing::warn!("no leader is found yet: serving what needs none");
            published.await;
        }
        ready(greeting);
        std::future::pending::<()>().await;
    }

    fn listen(&self, listener: Listener) {
        let front = self.services.front(listener.roles);
        if listener.roles.peer {
            let connections = self.connections.clone().until(self.parting.clone());
            self.member_tasks.spawn(connections.serve(listener, front));
        } else {
            self.tasks.spawn(self.connections.clone().serve(listener, front));
        }
    }

    /// In the reverse order, and nobody is to notice: another member leads before this one takes
    /// leave of its clients.
    async fn stop(self) {
        tracing::info!("stopping");
        notify(NotifyState::Stopping);
        match tokio::time::timeout(HAND_OVER_MAX, self.node.hand_over()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "leadership was not handed over"),
            Err(_) => tracing::warn!("no other member took over in time"),
        }
        drain(&self.stopping, &self.tasks).await;
        drain(&self.parting, &self.member_tasks).await;
        // What is not in the engine by then is in the log, and is read from there next time.
        if tokio::time::timeout(SHUTDOWN_MAX, self.node.shutdown()).await.is_err() {
            tracing::warn!("the engine did not take everything in time");
        }
    }
}

/// Lets what is under way end, for a while.
async fn drain(ending: &CancellationToken, tasks: &TaskTracker) {
    ending.cancel();
    tasks.close();
    if tokio::time::timeout(DRAIN_MAX, tasks.wait()).await.is_err() {
        tracing::warn!("some streams did not end in time and are cut");
    }
}

fn spawn_background(
    tasks: &TaskTracker,
    stopping: &CancellationToken,
    context: &grpc::Context,
    settings: &Settings,
) {
    if let Some(mode) = settings.auto_compaction {
        let run = auto_compaction::run(context.node().clone(), mode);
        tasks.spawn(stopping.clone().run_until_cancelled_owned(run));
    }
    let run = v2::expire(context.clone());
    tasks.spawn(stopping.clone().run_until_cancelled_owned(run));
    if settings.limits.auto_disarm_nospace {
        let run = context.clone().disarm_nospace();
        tasks.spawn(stopping.clone().run_until_cancelled_owned(run));
    }
}

fn grpc_options(settings: &Settings, node: &ServerNode) -> grpc::Options {
    grpc::Options {
        cluster_id: node.cluster_id(),
        member_id: node.member_id(),
        request_bytes_max: settings.limits.request_bytes_max as usize,
        quota_bytes: settings.limits.quota_bytes,
        serve_learner_reads: settings.membership.serve_learner_reads,
        bcrypt_cost: settings.bcrypt_cost,
    }
}

/// Tells everyone who waits for it: the log, the service manager, the person at the terminal.
fn ready(greeting: Option<String>) {
    tracing::info!("ready to serve client requests");
    notify(NotifyState::Ready);
    if let Some(greeting) = greeting {
        println!("{greeting}");
    }
}

/// Does nothing when no service manager listens.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(error = %error, "the service manager could not be told");
    }
}

fn node_config(
    settings: &Settings,
    identity: &InitialCluster,
    metrics: &Metrics,
    observer: Option<AppliedObserver>,
) -> Config {
    let members = identity.members.iter().map(|member| InitialMember {
        id: member.id,
        name: member.name.clone(),
        peer_urls: member.peer_urls.iter().map(ToString::to_string).collect(),
    });
    let mut config = Config::new(
        settings.data_dir.clone(),
        identity.cluster_id,
        identity.member_id,
        members.collect(),
    );
    config.nonce = rand::random();
    config.force_new_cluster = settings.force_new_cluster;
    config.strict_reconfig = settings.membership.strict_reconfig;
    config.learners_max = settings.membership.learners_max as usize;
    config.auto_promote = settings.membership.auto_promote;
    config.wal_dir = settings.wal_dir();
    config.heartbeat_ms = settings.heartbeat_ms;
    config.election_ms = settings.election_ms;
    config.log_observer = Some(metrics.log_observer());
    config.on_applied = observer;
    config.corrupt_check_interval = settings.corrupt_check_interval;
    config.lease_checkpoint_interval = settings.lease_checkpoint_interval;
    config.unsafe_no_fsync = settings.unsafe_no_fsync;
    config.store.max_txn_ops = settings.limits.txn_ops_max;
    let interval_ms = settings.progress_notify_interval.as_millis();
    config.watch.progress_interval_ms = u64::try_from(interval_ms).unwrap_or(u64::MAX);
    config
}
