//! Measurements of berth beside the real etcd: same disk, same keys, same client, one run.
//!
//! This room measures and never judges: no test asserts a time. Start at [`restart`] for
//! one server, at [`failover`] for three.

mod cluster;
mod failover;
mod load;
mod restart;
mod server;

use std::error::Error;

use clap::{Parser, Subcommand};

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
    /// How long writes stand still when the leader of three is killed, and when it is moved
    Failover(failover::Failover),
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match Benches::parse().measurement {
        Measurement::Restart(restart) => restart::run(&restart).await,
        Measurement::Failover(failover) => failover::run(&failover).await,
    }
}
