//! Those who use the cluster, and note what they asked and what they were told.
//!
//! Each asks one member after the other, as a client with a list of endpoints does. None of them
//! knows more than a client of the real thing: judging is for the oracles.

mod holder;
pub(crate) mod keys;
pub(crate) mod watcher;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cluster::Cluster;
use crate::plan::Plan;
use crate::runtime::Simulated;
use openraft_rt::AsyncRuntime;

/// Tells the clients when to stop.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Starts them all. `writing` ends those who change keys, `watching` those who look on.
pub(crate) fn start(cluster: &Cluster, plan: &Plan, writing: &Stop, watching: &Stop) {
    for client in 0..plan.clients {
        let keys = keys::Client::new(cluster.clone(), plan.clone(), client, writing.clone());
        drop(Simulated::spawn(keys.run()));
    }
    for _ in 0..plan.watchers {
        let watcher = watcher::Watcher::new(cluster.clone(), watching.clone());
        drop(Simulated::spawn(watcher.run()));
    }
    for holder in 0..plan.lease_holders {
        let holder = holder::Holder::new(cluster.clone(), holder, writing.clone());
        drop(Simulated::spawn(holder.run()));
    }
}
