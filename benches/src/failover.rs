//! How long a cluster of three stands still when its leader is killed, and when it is moved.

use std::error::Error;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::maintenance_client::MaintenanceClient;
use api::etcdserverpb::{MoveLeaderRequest, PutRequest};
use clap::Args;
use comfy_table::{Table, presets};
use tonic::transport::Channel;

use crate::cluster::Cluster;
use crate::server::{Subject, own_berth};

/// How long one attempt of a client may take before it asks again.
const ATTEMPT_MAX: Duration = Duration::from_millis(200);
/// A pause after an attempt that failed at once.
const RETRY: Duration = Duration::from_millis(5);
/// Rounds that one server has before it is the other's turn: noise then hits both.
const ROUNDS_PER_TURN: usize = 5;

#[derive(Debug, Args)]
pub(crate) struct Failover {
    /// Leaders to kill of each server
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// Planned moves of leadership of each server
    #[arg(long, default_value_t = 50)]
    moves: usize,
    /// Another server to measure beside berth (etcd's flags are added to the command)
    #[arg(long, default_value = "etcd")]
    peer: OsString,
}

struct Figures {
    name: String,
    killed: Vec<Duration>,
    moved: Vec<Duration>,
    failed_writes: usize,
}

pub(crate) async fn run(failover: &Failover) -> Result<(), Box<dyn Error>> {
    let berth = Subject::new("berth".to_owned(), vec![own_berth()?.into(), "serve".into()])?;
    let name = failover.peer.to_string_lossy().into_owned();
    let peer = Subject::new(name, vec![failover.peer.clone()])?;
    let mut all = Vec::new();
    for subject in [&berth, &peer] {
        let figures = Figures {
            name: subject.name.clone(),
            killed: Vec::new(),
            moved: Vec::new(),
            failed_writes: 0,
        };
        all.push((Cluster::start(subject).await?, figures));
    }
    let mut done = 0;
    while done < failover.kills.max(failover.moves) {
        let turn = done..done + ROUNDS_PER_TURN;
        for (cluster, figures) in &mut all {
            for round in turn.clone() {
                if round < failover.kills {
                    figures.killed.push(kill(cluster).await?);
                }
                if round < failover.moves {
                    let (pause, failed) = move_leader(cluster).await?;
                    figures.moved.push(pause);
                    figures.failed_writes += failed;
                }
            }
        }
        done = turn.end;
    }
    println!("three processes on loopback, default timeouts, {} cores", cores());
    println!("{}", table(all.into_iter().map(|(_, figures)| figures)));
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// The time from the leader's death to the next write that a client of the others gets through.
async fn kill(cluster: &mut Cluster) -> Result<Duration, Box<dyn Error>> {
    cluster.level().await?;
    let (leader, _) = cluster.leader().await?;
    put(cluster.channel(leader)).await?;
    let survivors = (0..3).filter(|place| *place != leader).map(|place| cluster.channel(place));
    let survivors: Vec<Channel> = survivors.collect();
    cluster.kill(leader)?;
    let start = Instant::now();
    let writes = survivors.into_iter().map(|channel| Box::pin(until_acknowledged(channel)));
    let (took, _, _) = futures::future::select_all(writes).await;
    let took = took.duration_since(start);
    cluster.launch(leader)?;
    cluster.level().await?;
    Ok(took)
}

async fn until_acknowledged(channel: Channel) -> Instant {
    loop {
        match tokio::time::timeout(ATTEMPT_MAX, put(channel.clone())).await {
            Ok(Ok(())) => return Instant::now(),
            Ok(Err(_)) => tokio::time::sleep(RETRY).await,
            Err(_) => {}
        }
    }
}

/// The longest time between two acknowledged writes around a planned move, and how many writes
/// failed meanwhile: of one client without any retries at each member.
async fn move_leader(cluster: &Cluster) -> Result<(Duration, usize), Box<dyn Error>> {
    cluster.level().await?;
    let (leader, ids) = cluster.leader().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..3).map(|place| tokio::spawn(write(cluster.channel(place), stop.clone()))).collect();
    tokio::time::sleep(ATTEMPT_MAX).await;
    let request = MoveLeaderRequest { target_id: ids[(leader + 1) % 3] };
    MaintenanceClient::new(cluster.channel(leader)).move_leader(request).await?;
    tokio::time::sleep(ATTEMPT_MAX).await;
    stop.store(true, Ordering::Release);
    let (mut acknowledged, mut failed) = (Vec::new(), 0);
    for writer in writers {
        let (times, failures) = writer.await?;
        acknowledged.extend(times);
        failed += failures;
    }
    acknowledged.sort_unstable();
    let pauses = acknowledged.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    Ok((pauses.max().unwrap_or_default(), failed))
}

async fn write(channel: Channel, stop: Arc<AtomicBool>) -> (Vec<Instant>, usize) {
    let (mut acknowledged, mut failed) = (Vec::new(), 0);
    while !stop.load(Ordering::Acquire) {
        match put(channel.clone()).await {
            Ok(()) => acknowledged.push(Instant::now()),
            Err(_) => failed += 1,
        }
    }
    (acknowledged, failed)
}

async fn put(channel: Channel) -> Result<(), tonic::Status> {
    let put = PutRequest { key: "key".into(), value: "value".into(), ..PutRequest::default() };
    KvClient::new(channel).put(put).await.map(drop)
}

fn table(all: impl Iterator<Item = Figures>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header([
        "server",
        "leader killed, to the next write: p50",
        "p90",
        "p99",
        "max",
        "leader moved, longest pause: p50",
        "p99",
        "max",
        "failed writes",
    ]);
    for Figures { name, mut killed, mut moved, failed_writes } in all {
        killed.sort_unstable();
        moved.sort_unstable();
        let mut row = vec![name];
        row.extend([50, 90, 99, 100].map(|percent| at(&killed, percent)));
        row.extend([50, 99, 100].map(|percent| at(&moved, percent)));
        row.push(failed_writes.to_string());
        table.add_row(row);
    }
    table
}

/// The smallest of `sorted` that `percent` of them do not exceed.
fn at(sorted: &[Duration], percent: usize) -> String {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    let found = sorted.get(place);
    found.map(|time| format!("{} ms", time.as_millis())).unwrap_or_default()
}
