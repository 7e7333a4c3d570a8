//! `sim`: runs seeds and prints what came of them.

mod table;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use sim::Report;

/// Runs a simulated cluster under faults, once for each seed, and judges what its clients saw.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 20)]
    seeds: u64,

    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first: u64,

    /// This seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,

    /// Print the log of a seed that fails; with --seed, in any case.
    #[arg(long)]
    log: bool,

    /// Make each known mistake, or this one (as the table calls it), and run seeds until it is
    /// found; --seeds is the most for each.
    #[cfg(feature = "planted")]
    #[arg(long, value_name = "MISTAKE")]
    planted: Option<Option<String>>,

    /// Runs at a time.
    #[arg(long, default_value_t = default_jobs())]
    jobs: usize,
}

fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    sim::panics::note_all();
    #[cfg(feature = "planted")]
    if let Some(only) = &arguments.planted {
        return find_mistakes(only.as_deref(), &arguments);
    }
    let (first, count) = match arguments.seed {
        Some(seed) => (seed, 1),
        None => (arguments.first, arguments.seeds),
    };
    let reports = run_all(first, count, &arguments);
    print!("{}", table::of(&reports));
    let failed: Vec<&Report> = reports.iter().filter(|it| !it.violations.is_empty()).collect();
    for report in &failed {
        println!("{}", table::of_failure(report));
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(feature = "planted")]
fn find_mistakes(only: Option<&str>, arguments: &Arguments) -> ExitCode {
    use sim::mistakes;
    let mut mistakes = store::planted::ALL.to_vec();
    mistakes.retain(|it| only.is_none_or(|only| format!("{it:?}") == only));
    if mistakes.is_empty() {
        eprintln!("no mistake is called {only:?}: there are {:?}", store::planted::ALL);
        return ExitCode::FAILURE;
    }
    let findings = mistakes::find_all(&mistakes, arguments.first, arguments.seeds, arguments.jobs);
    println!("{}", mistakes::table(&findings));
    let all = findings.iter().all(mistakes::Finding::is_right);
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// On several threads: each run is alone on its own.
fn run_all(first: u64, count: u64, arguments: &Arguments) -> Vec<Report> {
    let next = AtomicU64::new(first);
    let reports = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first.saturating_add(count) {
                return;
            }
            let mut report = sim::run(seed, arguments.log);
            let failed = !report.violations.is_empty();
            if arguments.log && (failed || arguments.seed.is_some()) {
                for line in std::mem::take(&mut report.log) {
                    println!("{line}");
                }
            }
            report.log.clear();
            reports.lock().expect("nobody panics while it is held").push(report);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(work);
        }
    });
    let mut reports = reports.into_inner().expect("nobody panics while it is held");
    reports.sort_by_key(|report: &Report| report.seed);
    reports
}
