//! What no server can go below here: a sync of the disk and a call that does nothing; and how far
//! above it berth and the other server are.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use super::result::Comparison;
use super::workloads::Workload;
use super::{Place, round};
use crate::figures::{Figure, Report, percentile};
use crate::server::{Subject, own_berth};

/// Of one entry of the log, with a value of 256 bytes.
const ENTRY_BYTES: usize = 512;
const FILE_BYTES: u64 = 64 << 20;
const SYNCS: usize = 2000;
const WORKLOADS: [Workload; 4] =
    [Workload::Put1, Workload::Put1000, Workload::Range1000, Workload::RangeOf100000Keys];

#[derive(Debug, Args)]
pub(crate) struct Floor {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The server to compare with: a program that takes etcd's flags
    #[arg(long, default_value = "etcd")]
    peer: PathBuf,
    /// The berth to measure; by default the one built beside this program
    #[arg(long)]
    berth: Option<PathBuf>,
    /// Where to keep the data (directories are made there, and removed)
    #[arg(long)]
    directory: Option<PathBuf>,
}

pub(crate) async fn run(floor: &Floor) -> Result<(), Box<dyn Error>> {
    let berth = floor.berth.clone().map_or_else(own_berth, Ok)?;
    let nothing = vec![std::env::current_exe()?.into(), "empty".into()];
    let subjects = [
        Subject::new("nothing".to_owned(), nothing)?,
        Subject::new("berth".to_owned(), vec![berth.into(), "serve".into()])?,
        Subject::new("the other".to_owned(), vec![floor.peer.clone().into()])?,
    ];
    let place = Place {
        time: Duration::from_secs(floor.seconds),
        divide_by: 1,
        directory: floor.directory.clone(),
    };
    let mut report = Report::new(&super::result::COLUMNS);
    let mut alone = Vec::new();
    for workload in WORKLOADS {
        let names = subjects.iter().map(|subject| subject.name.clone());
        let mut comparison = Comparison::new(workload.told(), names);
        for (number, subject) in subjects.iter().enumerate() {
            let round = round(&place, subject, workload).await?;
            if workload == Workload::Put1 {
                alone.push(round.p50());
            }
            comparison.add(number, round);
        }
        comparison.add_to(&mut report);
    }
    println!("{report}\n");
    let sync = sync(floor.directory.as_deref())?;
    println!("{}", told(sync, &alone));
    Ok(())
}

/// One client's put beside the sum of what it cannot do without.
fn told(sync: Duration, alone: &[Duration]) -> String {
    let [call, berth, other] = alone else { return String::new() };
    let sum = sync + *call;
    let ratio = |time: &Duration| time.as_secs_f64() / sum.as_secs_f64();
    format!(
        "medians: a sync of {ENTRY_BYTES} bytes {sync:?}, a call that does nothing {call:?}; a put \
         of one client {berth:?} ({:.2} times their sum), at the other server {other:?} ({:.2})",
        ratio(berth),
        ratio(other),
    )
}

/// The median of a write and its sync into a file whose blocks there are.
fn sync(directory: Option<&Path>) -> Result<Duration, Box<dyn Error>> {
    let directory = match directory {
        Some(parent) => tempfile::tempdir_in(parent)?,
        None => tempfile::tempdir()?,
    };
    let file = File::create(directory.path().join("log"))?;
    let piece = vec![0; 1 << 20];
    for at in (0..FILE_BYTES).step_by(piece.len()) {
        file.write_all_at(&piece, at)?;
    }
    file.sync_all()?;
    let entry = [b'e'; ENTRY_BYTES];
    let mut times = Vec::new();
    for number in 0..SYNCS {
        let begin = Instant::now();
        file.write_all_at(&entry, (number * ENTRY_BYTES) as u64)?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    match percentile(&mut times, 50) {
        Figure::Time(median) => Ok(median),
        other => Err(format!("a time, not {other}").into()),
    }
}
