//! One at a time: whoever has the turn at the election's key works, and writes only as long as that
//! key is the one it took.

use std::future::Future;

use tokio::sync::mpsc;

use super::Settings;
use super::action::Event;
use super::executor::Executor;
use super::manager::Manager;
use crate::kv::turn::Turn;
use crate::kv::{self, Lease, Pause, Store};
use crate::objects::Objects;
use crate::objects::events::{Recorder, Severity};

/// Where the controllers are elected.
const ELECTION: &str = "/registry/berth/leaders/controllers";
/// The name under which events are told.
const COMPONENT: &str = "berth-controllers";
/// Events that may wait to be told; more are dropped.
const EVENTS_MAX: usize = 1000;

/// Runs the controllers, as the leader or waiting to be, until `stop` ends; then the place is given
/// up at once, so that another one can take over. Failures of the store are waited out.
pub async fn run(store: Store, settings: Settings, stop: impl Future<Output = ()>) {
    tokio::pin!(stop);
    let mut pause = Pause::default();
    loop {
        let lease = tokio::select! {
            () = &mut stop => return,
            lease = Lease::grant(&store, settings.leader_ttl_s) => lease,
        };
        let lease = match lease {
            Ok(lease) => lease,
            Err(error) => {
                tracing::warn!("the controllers cannot be elected: {error}");
                pause.wait().await;
                continue;
            }
        };
        pause.reset();
        tokio::select! {
            () = &mut stop => {
                // It runs out by itself if this fails.
                let _ = lease.revoke().await;
                return;
            }
            () = lease.lost() => tracing::info!("the controllers' lease is lost"),
            outcome = lead(&store, &settings, lease.id()) => if let Err(error) = outcome {
                tracing::warn!("the controllers start anew: {error}");
            },
        }
        // Another election must not find this one's place.
        let _ = lease.revoke().await;
        pause.wait().await;
    }
}

async fn lead(store: &Store, settings: &Settings, lease: i64) -> kv::Result<()> {
    let turn = Turn::queue(store, ELECTION, lease, settings.identity.clone()).await?;
    turn.wait().await?;
    tracing::info!(identity = %settings.identity, "the controllers lead");
    let fence = kv::created_at(turn.key().clone(), turn.revision());
    let (events, told) = mpsc::channel(EVENTS_MAX);
    let executor = Executor {
        objects: Objects::new(store.clone()).fenced(fence.clone()),
        store: store.clone(),
        fence,
        events,
    };
    let manager = Manager::new(executor, &settings.domain);
    // Both end together: events of a deposed leader are nobody's.
    tokio::select! {
        () = manager.run() => {}
        () = tell(Objects::new(store.clone()), told) => {}
    }
    Ok(())
}

async fn tell(objects: Objects, mut told: mpsc::Receiver<Event>) {
    let recorder = Recorder::new(objects, COMPONENT, None);
    while let Some(event) = told.recv().await {
        let severity = if event.is_warning { Severity::Warning } else { Severity::Normal };
        recorder.record(&event.about, severity, event.reason, &event.message).await;
    }
    std::future::pending::<()>().await;
}
