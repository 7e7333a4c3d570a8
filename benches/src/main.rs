//! Measurements of berth beside the real etcd: same disk, same keys, same client, one run.
//!
//! This room measures and never judges: no test asserts a time. Start at [`restart`] for
//! one server, at [`failover`] for three; `cluster/` runs them, `writers.rs` is their load.

mod catch_up;
mod cluster;
mod cluster_load;
mod compare;
mod dns;
mod empty;
mod expiry;
mod failover;
mod figures;
mod load;
mod metrics;
mod move_leader;
mod overload;
mod restart;
mod schedule;
mod server;
mod setting;
mod snapshot_transfer;
mod writers;

use std::error::Error;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// The one of berth: a part of it runs in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(about = "Measures berth beside etcd")]
struct Benches {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// Time from start to the first served read, and memory then, on a store full of keys
    Restart(restart::Restart),
    /// How long writes stand still when the leader of three is killed
    Failover(failover::Failover),
    /// What a planned move of leadership costs those who write meanwhile
    MoveLeader(move_leader::MoveLeader),
    /// How long a follower that was away under full load needs to catch up
    CatchUp(catch_up::CatchUp),
    /// Memory and writes while a member joins by a large snapshot
    SnapshotTransfer(snapshot_transfer::SnapshotTransfer),
    /// One node beside etcd, workload by workload
    Compare(compare::Compare),
    /// Puts and reads beside a server that does nothing, and beside a sync of the disk
    Floor(compare::Floor),
    /// That server which does nothing
    Empty(empty::Empty),
    /// Throughput and latency of puts to three members
    ClusterLoad(cluster_load::ClusterLoad),
    /// What the DNS server answers in a second, and how soon it knows of a change
    Dns(dns::Dns),
    /// How soon what has expired is gone, and what many leases that end together cost others
    Expiry(expiry::Expiry),
    /// How many pods a second are placed, by the planner alone and with the store
    Schedule(schedule::Schedule),
    /// Memory, and what others wait, under more than a server should be asked for
    Overload(overload::Overload),
}

impl Measurement {
    async fn run(&self) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Restart(restart) => restart::run(restart).await,
            Self::Failover(failover) => failover::run(failover).await,
            Self::MoveLeader(move_leader) => move_leader::run(move_leader).await,
            Self::CatchUp(catch_up) => catch_up::run(catch_up).await,
            Self::SnapshotTransfer(transfer) => snapshot_transfer::run(transfer).await,
            Self::Compare(compare) => compare::run(compare).await,
            Self::Floor(floor) => compare::run_floor(floor).await,
            Self::Empty(empty) => empty::run(empty).await,
            Self::ClusterLoad(cluster_load) => cluster_load::run(cluster_load).await,
            Self::Dns(dns) => dns::run(dns).await,
            Self::Expiry(expiry) => expiry::run(expiry).await,
            Self::Schedule(schedule) => schedule::run(schedule).await,
            Self::Overload(overload) => overload::run(overload).await,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let measurement = Benches::parse().measurement;
    // What is dropped here, or by a panic, takes its servers with it.
    tokio::select! {
        measured = measurement.run() => measured,
        stopped = stopped() => stopped,
    }
}

/// Ends with an error when somebody wants the measurement to end.
async fn stopped() -> Result<(), Box<dyn Error>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Err("stopped by a signal; the servers are stopped too".into())
}
