//! `berth-chaos`: a cluster of real processes under faults, and what came of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sim::chaos::{self, Options};

/// Runs a cluster of berth processes under faults and judges what clients and watchers saw.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How long there are faults, in minutes.
    #[arg(long, default_value_t = 5)]
    minutes: u64,

    /// Decides what is tried, and in which order.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How many members.
    #[arg(long, default_value_t = 3)]
    members: usize,

    /// The server program; without it, the one beside this program.
    #[arg(long)]
    berth: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let beside = || std::env::current_exe().ok().map(|own| own.with_file_name("berth"));
    let Some(berth) = arguments.berth.or_else(beside).filter(|berth| berth.exists()) else {
        eprintln!("there is no berth beside this program: build it, or say where it is by --berth");
        return ExitCode::FAILURE;
    };
    let faults = Duration::from_secs(60 * arguments.minutes);
    let options = Options { berth, members: arguments.members, faults, seed: arguments.seed };
    match chaos::run(&options).await {
        Ok(report) => {
            println!("{report}");
            let good = report.violations.is_empty() && report.counts();
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
