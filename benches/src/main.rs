//! Measurements of berth beside the real etcd: same disk, same keys, same client, one run.
//!
//! This room measures and never judges: no test asserts a time. Start at [`restart`].

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
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match Benches::parse().measurement {
        Measurement::Restart(restart) => restart::run(&restart).await,
    }
}
