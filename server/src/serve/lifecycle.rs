//! Opening everything in order, waiting, and closing it in the reverse order.

use std::time::Duration;

use raft::{Config, InitialMember, ServerNode};
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Connections, Tls};
use super::{addresses, auto_compaction, data_dir, greeting, listen, member, publish, signals};
use crate::config::Settings;
use crate::grpc;
use crate::http::Metrics;

/// How long requests under way may take to end after the signal.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// How long the node may take to hand over what it holds in memory.
const SHUTDOWN_MAX: Duration = Duration::from_secs(30);

/// Serves until a signal comes (`Ok`) or something makes it impossible (`Err`, one line).
pub(super) async fn serve(settings: Settings, bare: bool) -> Result<(), String> {
    let mut signals = signals::Signals::install()?;
    let tokens = grpc::Tokens::open(&settings.auth_token)?;
    data_dir::prepare(&settings)?;
    let tls = Tls::open(&settings)?;
    let listeners = listen::bind_all(&settings.addresses)?;
    let metrics = Metrics::new(settings.extensive_metrics);
    let node = tokio::select! {
        node = ServerNode::start(node_config(&settings, &metrics, &tokens)) => node.map_err(|e| e.to_string())?,
        () = signals.stop() => return Ok(()),
    };
    metrics.attach(member::MemberMetrics::new(&node, &settings));

    let stopping = CancellationToken::new();
    let tasks = TaskTracker::new();
    let connections = Connections::new(&settings, tls, stopping.clone());
    let context = grpc::Context::new(node.clone(), grpc_options(&settings), tokens);
    let services = addresses::Services::new(&settings, &context, &metrics, &stopping);
    let outcome = tokio::select! {
        () = publish::publish(&node, &settings) => {
            spawn_background(&tasks, &stopping, &context, &settings);
            for listener in listeners {
                let routes = services.routes(listener.roles);
                tasks.spawn(connections.clone().serve(listener, routes));
            }
            ready(&settings, bare);
            tokio::select! {
                () = signals.stop() => Ok(()),
                error = node.failed() => Err(error.to_string()),
            }
        }
        () = signals.stop() => Ok(()),
        error = node.failed() => Err(error.to_string()),
    };
    tracing::info!("stopping");
    notify(NotifyState::Stopping);
    stopping.cancel();
    tasks.close();
    if tokio::time::timeout(DRAIN_MAX, tasks.wait()).await.is_err() {
        tracing::warn!("some streams did not end in time and are cut");
    }
    // What is not in the engine by then is in the log, and is read from there at the next start.
    if tokio::time::timeout(SHUTDOWN_MAX, node.shutdown()).await.is_err() {
        tracing::warn!("the engine did not take everything in time");
    }
    if outcome.is_ok() {
        tracing::info!("stopped");
    }
    outcome
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
    if settings.limits.auto_disarm_nospace {
        let run = context.clone().disarm_nospace();
        tasks.spawn(stopping.clone().run_until_cancelled_owned(run));
    }
}

fn grpc_options(settings: &Settings) -> grpc::Options {
    grpc::Options {
        cluster_id: settings.cluster_id,
        member_id: settings.member_id,
        request_bytes_max: settings.limits.request_bytes_max as usize,
        quota_bytes: settings.limits.quota_bytes,
        bcrypt_cost: settings.bcrypt_cost,
    }
}

/// Tells everyone who waits for it: the log, the service manager, the person at the terminal.
fn ready(settings: &Settings, bare: bool) {
    tracing::info!("ready to serve client requests");
    notify(NotifyState::Ready);
    if bare {
        greeting::print(settings);
    }
}

/// Does nothing when no service manager listens.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(error = %error, "the service manager could not be told");
    }
}

fn node_config(settings: &Settings, metrics: &Metrics, tokens: &grpc::Tokens) -> Config {
    let members = settings.members.iter().map(|member| InitialMember {
        id: member.id,
        name: member.name.clone(),
        peer_urls: member.peer_urls.iter().map(ToString::to_string).collect(),
    });
    let mut config = Config::new(
        settings.data_dir.clone(),
        settings.cluster_id,
        settings.member_id,
        members.collect(),
    );
    config.wal_dir = settings.wal_dir();
    config.heartbeat_ms = settings.heartbeat_ms;
    config.election_ms = settings.election_ms;
    config.log_observer = Some(metrics.log_observer());
    config.on_applied = tokens.observer();
    config.unsafe_no_fsync = settings.unsafe_no_fsync;
    config.store.max_txn_ops = settings.limits.txn_ops_max;
    let interval_ms = settings.progress_notify_interval.as_millis();
    config.watch.progress_interval_ms = u64::try_from(interval_ms).unwrap_or(u64::MAX);
    config
}
