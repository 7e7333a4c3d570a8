//! What keeps the cluster as it was asked to be: replicas, rollouts, daemons, jobs, nodes,
//! endpoints, namespaces, and what is left when owners go.
//!
//! Each controller is a pure planner, `(what is seen, what is wanted, now) -> actions`; one loop
//! ([`manager`]) feeds them all from one view of the registry and one executor carries out what
//! they ask for. One leader at a time works, elected on the store.
//!
//! This room must never act on what it has not seen to be so: a plan is made on a view that has all
//! of its own earlier writes, every write compares the object's revision and the leader's own key,
//! and a pod is never made or deleted because of an event, only because of a state. It writes no
//! status of a pod that a living agent owns.
//!
//! Start at [`run`], then [`manager`], then a planner: [`replicas`] is the simplest,
//! [`deployment`] the largest. `docs/internals/controllers.md` has the reasons.

pub(crate) mod action;
mod cron;
mod daemons;
mod deployment;
mod disruption;
mod endpoints;
mod executor;
mod garbage;
pub(crate) mod id;
mod jobs;
mod kinds;
mod leader;
mod manager;
pub(crate) mod model;
mod namespaces;
mod nodes;
mod plans;
mod queue;
mod replicas;
mod routes;
mod world;

pub use leader::run;

/// How the controllers work.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who this is, for people who look at the election: a host name, say.
    pub identity: String,
    /// The domain of the cluster, under which SkyDNS records are published.
    pub domain: String,
    /// Seconds after which another one takes over from a leader that is gone. Whole seconds; etcd
    /// has a least of its own.
    pub leader_ttl_s: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { identity: "berth".into(), domain: "cluster.local".into(), leader_ttl_s: 4 }
    }
}
