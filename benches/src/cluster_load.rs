//! Throughput and latency of puts to three members.

use std::error::Error;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::cluster::Cluster;
use crate::figures::{Figure, Report, median, percentile};
use crate::setting::Setting;
use crate::writers::{Asks, Habit, Write, Writers};

/// Connections are made and caches filled in it; it is not counted.
const WARM_UP: Duration = Duration::from_secs(1);
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct ClusterLoad {
    /// Clients, each with one request at a time
    #[arg(long, value_delimiter = ',', default_value = "1,64,256")]
    clients: Vec<usize>,
    /// Whom the clients ask: the leader, or all members, each request another one
    #[arg(long, value_enum, value_delimiter = ',', default_value = "leader,all")]
    through: Vec<Through>,
    /// Seconds of each load
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How often each load is repeated; the table has medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Bytes of each value
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    #[command(flatten)]
    setting: Setting,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Through {
    Leader,
    All,
}

impl Through {
    fn told(self) -> &'static str {
        match self {
            Self::Leader => "to the leader",
            Self::All => "to all members",
        }
    }
}

/// The figures of one round.
struct Round {
    rate: Figure,
    p50: Figure,
    p99: Figure,
    failed: usize,
}

pub(crate) async fn run(cluster_load: &ClusterLoad) -> Result<(), Box<dyn Error>> {
    cluster_load.setting.print()?;
    let mut clusters = Vec::new();
    for subject in cluster_load.setting.subjects()? {
        clusters.push(Cluster::start(&subject, &cluster_load.setting, &[]).await?);
    }
    let mut report = Report::new(&["puts", "p50", "p99", "failed"]);
    for through in &cluster_load.through {
        for clients in &cluster_load.clients {
            let rows = load(&clusters, cluster_load, *through, *clients).await?;
            report.group(&format!("clients: {clients}, {}", through.told()), &rows);
        }
    }
    println!(
        "Puts of {} bytes, each client with one request at a time, medians of {} rounds of {} s.",
        cluster_load.value_bytes, cluster_load.rounds, cluster_load.seconds
    );
    println!("{report}");
    Ok(())
}

/// One load on every cluster, in turn, so that noise of the machine hits all.
async fn load(
    clusters: &[Cluster],
    cluster_load: &ClusterLoad,
    through: Through,
    clients: usize,
) -> Result<Vec<(String, Vec<Figure>)>, Box<dyn Error>> {
    let mut rounds: Vec<Vec<Round>> = clusters.iter().map(|_| Vec::new()).collect();
    for _ in 0..cluster_load.rounds {
        for (cluster, rounds) in clusters.iter().zip(&mut rounds) {
            rounds.push(round(cluster, cluster_load, through, clients).await?);
        }
    }
    let rows = clusters.iter().zip(rounds).map(|(cluster, rounds)| {
        let failed = Figure::Count(rounds.iter().map(|round| round.failed).sum());
        let of =
            |figure: fn(&Round) -> &Figure| median(rounds.iter().map(figure).cloned().collect());
        let figures = [of(|r| &r.rate), of(|r| &r.p50), of(|r| &r.p99), Some(failed)];
        (cluster.name.clone(), figures.into_iter().flatten().collect())
    });
    Ok(rows.collect())
}

async fn round(
    cluster: &Cluster,
    cluster_load: &ClusterLoad,
    through: Through,
    clients: usize,
) -> Result<Round, Box<dyn Error>> {
    let habit = Habit {
        attempt_max: ATTEMPT_MAX,
        pause: Duration::ZERO,
        asks: Asks::InTurn,
        value_bytes: cluster_load.value_bytes,
    };
    let (leader, _) = cluster.leader().await?;
    let all = (0..cluster.members.len()).collect();
    let places = if through == Through::All { all } else { vec![leader] };
    let mut writers = Writers::start(cluster, &places, clients, &habit)?;
    writers.until(PATIENCE, Write::acknowledged).await?;
    let begin = Instant::now() + WARM_UP;
    let end = begin + Duration::from_secs(cluster_load.seconds);
    tokio::time::sleep_until(end.into()).await;
    let mut writes = writers.finish().await;
    writes.retain(|write| (begin..end).contains(&write.answered));
    let acknowledged = writes.iter().filter(|write| write.acknowledged());
    let mut times: Vec<Duration> =
        acknowledged.map(|write| write.answered.duration_since(write.sent)).collect();
    Ok(Round {
        rate: Figure::rate(times.len(), end - begin),
        p50: percentile(&mut times, 50),
        p99: percentile(&mut times, 99),
        failed: writes.len() - times.len(),
    })
}
