//! berth beside another server, workload by workload: throughput, latency, the server's own
//! processor time, memory and disk.
//!
//! Every round of a workload has a fresh server on a fresh directory of the same disk, and the
//! rounds alternate between the servers, so that the machine's moods hit both. Processor time is
//! read from the server's process: what the load's clients need is in no figure but the throughput,
//! which on a small machine they may bound. Start at [`run`]; what is asked of a server is in
//! `workloads/`, how it is asked and timed in `load.rs`.

mod floor;
mod load;
mod plot;
mod result;
mod workloads;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
pub(crate) use floor::{Floor, run as run_floor};

use crate::figures::Report;
use crate::server::{Server, Subject, disk_bytes, own_berth};
use load::Bench;
use result::{Comparison, Round};
use workloads::Workload;

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Which workloads, in this order; all by default
    #[arg(long, value_enum, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Rounds of each workload on each server; the table has medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each round, for workloads that have no end of their own
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Divides the number of keys, watchers and leases, for a first look
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    divide_by: u64,
    /// The server to compare with: a program that takes etcd's flags, and its first arguments
    #[arg(long, default_value = "etcd")]
    peer: String,
    /// The berth to measure; by default the one built beside this program
    #[arg(long)]
    berth: Option<PathBuf>,
    /// Measure berth alone
    #[arg(long)]
    alone: bool,
    /// Where to keep the data (directories are made there, and removed)
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Write all rounds to this file, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the table to this file, as Markdown
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Draw the ratios to this file, as SVG
    #[arg(long)]
    svg: Option<PathBuf>,
}

impl Compare {
    fn subjects(&self) -> Result<Vec<Subject>, Box<dyn Error>> {
        let berth = self.berth.clone().map_or_else(own_berth, Ok)?;
        let mut subjects =
            vec![Subject::new("berth".to_owned(), vec![berth.into(), "serve".into()])?];
        if !self.alone {
            let command: Vec<OsString> = self.peer.split_whitespace().map(OsString::from).collect();
            let program = command.first().ok_or("--peer names no program")?;
            let name =
                PathBuf::from(program).file_name().map(|it| it.to_string_lossy().into_owned());
            subjects.push(Subject::new(name.unwrap_or_default(), command)?);
        }
        Ok(subjects)
    }

    fn place(&self) -> Place {
        Place {
            time: Duration::from_secs(self.seconds),
            divide_by: self.divide_by,
            directory: self.directory.clone(),
        }
    }

    fn workloads(&self) -> &[Workload] {
        if self.workloads.is_empty() { Workload::value_variants() } else { &self.workloads }
    }
}

/// Where rounds are run, how long, and how large.
struct Place {
    time: Duration,
    divide_by: u64,
    directory: Option<PathBuf>,
}

pub(crate) async fn run(compare: &Compare) -> Result<(), Box<dyn Error>> {
    let subjects = compare.subjects()?;
    for subject in &subjects {
        println!("{}: {}", subject.name, subject.version()?);
    }
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("one server at a time on loopback; {cores} cores for it and its clients\n");
    let mut comparisons = Vec::new();
    for workload in compare.workloads() {
        let comparison = measure(compare, &subjects, *workload).await?;
        println!("{}", comparison.report());
        comparisons.push(comparison);
    }
    let mut report = Report::new(&result::COLUMNS);
    comparisons.iter().for_each(|comparison| comparison.add_to(&mut report));
    if let Some(path) = &compare.markdown {
        std::fs::write(path, format!("{report}\n"))?;
    }
    if let Some(path) = &compare.json {
        std::fs::write(path, result::json(&comparisons)?)?;
    }
    if let Some(path) = &compare.svg {
        plot::draw(path, &comparisons)?;
    }
    Ok(())
}

async fn measure(
    compare: &Compare,
    subjects: &[Subject],
    workload: Workload,
) -> Result<Comparison, Box<dyn Error>> {
    let mut comparison =
        Comparison::new(workload.told(), subjects.iter().map(|it| it.name.clone()));
    let at = compare.place();
    for _ in 0..compare.rounds {
        for (place, subject) in subjects.iter().enumerate() {
            comparison.add(place, round(&at, subject, workload).await?);
        }
    }
    Ok(comparison)
}

async fn round(
    place: &Place,
    subject: &Subject,
    workload: Workload,
) -> Result<Round, Box<dyn Error>> {
    let directory = match &place.directory {
        Some(parent) => tempfile::tempdir_in(parent)?,
        None => tempfile::tempdir()?,
    };
    let data_dir = directory.path().join("data");
    let mut server = Server::start(subject, &data_dir)?;
    server.first_read().await?;
    let bench = Bench {
        url: server.client_url().to_owned(),
        process: server.id(),
        time: place.time,
        divide_by: place.divide_by,
    };
    let outcome = workload.run(&bench).await?;
    let peak_bytes = server.peak_bytes()?;
    let disk_bytes = disk_bytes(&data_dir)?;
    server.kill()?;
    Ok(Round::new(&outcome, peak_bytes, disk_bytes))
}
