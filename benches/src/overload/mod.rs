//! What a crowd costs everyone else: memory of the server, and the time that a quiet client waits.
//!
//! Loads come one after the other to one server; before them the quiet client is measured alone, and
//! during each it goes on, with health checks beside it. Start at [`run`]; each load is a file, and
//! what runs beside it is [`beside`].

pub(crate) mod beside;
mod client;
mod leases;
mod ranges;
mod slow;
mod streams;
mod values;
mod watchers;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};

use crate::figures::{Figure, percentile};
use crate::server::{Server, Subject, own_berth};
use beside::{Beside, Observed};
use client::{Outcome, Target};

/// After a load, until the next: what it left behind is cleared away.
const CALM: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Overload {
    /// The berth to measure; by default the one built beside this program
    #[arg(long)]
    berth: Option<PathBuf>,
    /// Another server to load instead: a program that takes etcd's flags
    #[arg(long, conflicts_with = "berth")]
    peer: Option<OsString>,
    /// Seconds of those loads that have no end of their own, and of the measurement without any
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Divides the size of every load, for a first look
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    divide_by: u64,
    /// Which loads, in this order
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "streams,values,ranges,watchers,slow-watchers,leases"
    )]
    loads: Vec<Load>,
    /// Where to keep the data (a directory is made there, and removed)
    #[arg(long)]
    directory: Option<PathBuf>,
}

impl Overload {
    fn subject(&self) -> Result<Subject, Box<dyn Error>> {
        if let Some(peer) = &self.peer {
            return Ok(Subject::new(peer.to_string_lossy().into_owned(), vec![peer.clone()])?);
        }
        let berth = self.berth.clone().map_or_else(own_berth, Ok)?;
        Ok(Subject::new("berth".to_owned(), vec![berth.into(), "serve".into()])?)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Load {
    /// Streams that are open and idle
    Streams,
    /// Large values, written and read
    Values,
    /// Everything, read again and again
    Ranges,
    /// Watchers, and writes for them
    Watchers,
    /// Watchers that do not read
    SlowWatchers,
    /// Leases granted at once, that end at once
    Leases,
}

impl Load {
    async fn apply(self, target: &Target) -> Result<Outcome, Box<dyn Error>> {
        match self {
            Self::Streams => streams::apply(target).await,
            Self::Values => values::apply(target).await,
            Self::Ranges => ranges::apply(target).await,
            Self::Watchers => watchers::apply(target).await,
            Self::SlowWatchers => slow::apply(target).await,
            Self::Leases => leases::apply(target).await,
        }
    }

    fn told(self) -> String {
        self.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default()
    }
}

pub(crate) async fn run(overload: &Overload) -> Result<(), Box<dyn Error>> {
    let subject = overload.subject()?;
    println!("{}", subject.version()?);
    let directory = match &overload.directory {
        Some(parent) => tempfile::tempdir_in(parent)?,
        None => tempfile::tempdir()?,
    };
    let mut server = Server::start(&subject, &directory.path().join("data"))?;
    server.first_read().await?;
    let target = Target {
        url: server.client_url().to_owned(),
        time: Duration::from_secs(overload.seconds),
        divide_by: usize::try_from(overload.divide_by)?,
    };
    let (unloaded, memory_max) = measure(overload, &server, &target).await?;
    println!("unloaded: {unloaded}; the highest resident memory of all: {} MiB", memory_max >> 20);
    server.stop()
}

/// Prints a line for each load as soon as it is over, and the table at the end.
async fn measure(
    overload: &Overload,
    server: &Server,
    target: &Target,
) -> Result<(String, u64), Box<dyn Error>> {
    let beside = Beside::start(&target.url);
    tokio::time::sleep(target.time).await;
    let unloaded = Quiet::of(beside.finish().await?);
    let mut rows = vec![unloaded.row("none", &unloaded, server.peak_bytes()?, &Outcome::default())];
    let mut memory_max = 0;
    for load in &overload.loads {
        server.forget_peak()?;
        let beside = Beside::start(&target.url);
        let outcome = humbly(*load, target.clone()).await?;
        let quiet = Quiet::of(beside.finish().await?);
        let peak = server.peak_bytes()?;
        memory_max = memory_max.max(peak);
        println!("{}: {}", load.told(), outcome.details());
        rows.push(quiet.row(&load.told(), &unloaded, peak, &outcome));
        tokio::time::sleep(CALM).await;
    }
    println!("{}", table(rows));
    Ok((unloaded.told(), memory_max))
}

/// Applies a load from threads that leave the processor to whoever else wants it: those who make a
/// server's load have machines of their own, and here they would measure themselves.
async fn humbly(load: Load, target: Target) -> Result<Outcome, Box<dyn Error>> {
    let applied = tokio::task::spawn_blocking(move || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.enable_all().on_thread_start(be_humble).build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let (tx, rx) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                be_humble();
                let applied = runtime.block_on(load.apply(&target));
                tx.send(applied.map_err(|error| error.to_string()))
            });
        });
        rx.recv().map_err(|_| "the load panicked".to_owned())?
    });
    Ok(applied.await??)
}

/// Of the calling thread, for good: it runs when nobody else would, and gives way at once.
fn be_humble() {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let mut command = std::process::Command::new("chrt");
    match command.args(["--idle", "--pid", "0", &thread]).status() {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("the load keeps its priority: chrt ended with {status}"),
        Err(error) => eprintln!("the load keeps its priority: chrt: {error}"),
    }
}

fn table(rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header([
        "load",
        "reached",
        "quiet put p50",
        "p99 (times unloaded)",
        "quiet get p50",
        "p99 (times unloaded)",
        "quiet calls failed",
        "peak memory",
        "refused",
        "health checks answered, missed",
    ]);
    table.add_rows(rows);
    table
}

/// How the quiet client and the health checks fared.
struct Quiet {
    put_p50: Figure,
    put_p99: Figure,
    get_p50: Figure,
    get_p99: Figure,
    failed: usize,
    answered: usize,
    missed: usize,
}

impl Quiet {
    fn of(mut observed: Observed) -> Self {
        Self {
            put_p50: percentile(&mut observed.puts, 50),
            put_p99: percentile(&mut observed.puts, 99),
            get_p50: percentile(&mut observed.gets, 50),
            get_p99: percentile(&mut observed.gets, 99),
            failed: observed.failed,
            answered: observed.healthy,
            missed: observed.missed,
        }
    }

    fn told(&self) -> String {
        format!(
            "put p50 {}, p99 {}, get p50 {}, p99 {}",
            self.put_p50, self.put_p99, self.get_p50, self.get_p99
        )
    }

    fn row(&self, load: &str, unloaded: &Self, peak: u64, outcome: &Outcome) -> Vec<String> {
        let times = |this: &Figure, other: &Figure| {
            let ratio = this.ratio(other).unwrap_or_default();
            format!("{this} ({ratio:.1})")
        };
        vec![
            load.to_owned(),
            outcome.reached.clone(),
            self.put_p50.to_string(),
            times(&self.put_p99, &unloaded.put_p99),
            self.get_p50.to_string(),
            times(&self.get_p99, &unloaded.get_p99),
            self.failed.to_string(),
            format!("{} MiB", peak >> 20),
            outcome.refused().to_string(),
            format!("{}, {}", self.answered, self.missed),
        ]
    }
}
