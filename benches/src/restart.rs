//! How long a restart takes on a full store, and what memory it needs then.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use comfy_table::{Table, presets};

use crate::load;
use crate::server::{Server, Subject, disk_bytes, own_berth};

#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// Keys to fill the store with
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// Restarts of each server: one after a clean stop, the others after SIGKILL
    #[arg(long, default_value_t = 5)]
    restarts: usize,
    /// Another server to measure beside berth (etcd's flags are added to the command)
    #[arg(long, default_value = "etcd")]
    peer: OsString,
    /// Measure berth alone
    #[arg(long)]
    alone: bool,
    /// Where to keep the data (a directory for each server is made there, and removed)
    #[arg(long)]
    directory: Option<PathBuf>,
}

struct Figures {
    name: String,
    restarts: Vec<(Duration, u64)>,
    disk_bytes: u64,
}

pub(crate) async fn run(restart: &Restart) -> Result<(), Box<dyn Error>> {
    let berth = vec![own_berth()?.into(), "serve".into()];
    let berth = Subject::new("berth".to_owned(), berth)?;
    let peer = restart.peer.to_string_lossy().into_owned();
    let peer = Subject::new(peer, vec![restart.peer.clone()])?;
    let mut all = vec![measure(&berth, restart).await?];
    if !restart.alone {
        all.push(measure(&peer, restart).await?);
    }
    println!("{} keys of {} bytes", restart.keys, restart.value_bytes);
    println!("{}", table(&all));
    Ok(())
}

async fn measure(subject: &Subject, restart: &Restart) -> Result<Figures, Box<dyn Error>> {
    let directory = match &restart.directory {
        Some(parent) => tempfile::tempdir_in(parent)?,
        None => tempfile::tempdir()?,
    };
    let data_dir = directory.path().join("data");
    let mut server = Server::start(subject, &data_dir)?;
    let channel = server.first_read().await?;
    load::fill(channel, restart.keys, restart.value_bytes).await?;
    let mut restarts = Vec::new();
    for round in 0..restart.restarts {
        if round == 0 {
            server.stop()?;
        } else {
            server.kill()?;
        }
        let start = Instant::now();
        server = Server::start(subject, &data_dir)?;
        server.first_read().await?;
        restarts.push((start.elapsed(), server.resident_bytes()?));
    }
    server.stop()?;
    Ok(Figures { name: subject.name.clone(), restarts, disk_bytes: disk_bytes(&data_dir)? })
}

fn table(all: &[Figures]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header([
        "server",
        "start to first read: after a clean stop",
        "after SIGKILL (median)",
        "resident memory then (median)",
        "on disk",
    ]);
    for figures in all {
        let clean = figures.restarts.first().map(|(time, _)| seconds(*time)).unwrap_or_default();
        let killed = figures.restarts.iter().skip(1).map(|(time, _)| *time).collect();
        let memory = figures.restarts.iter().map(|(_, bytes)| *bytes).collect();
        table.add_row([
            figures.name.clone(),
            clean,
            median(killed).map(seconds).unwrap_or_default(),
            median(memory).map(mebibytes).unwrap_or_default(),
            mebibytes(figures.disk_bytes),
        ]);
    }
    table
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> Option<T> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
