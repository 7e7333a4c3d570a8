//! How long writes stand still when the leader of three members is killed.

use std::error::Error;
use std::time::Duration;

use clap::Args;

use crate::cluster::Cluster;
use crate::figures::{Figure, Report, percentile};
use crate::setting::Setting;
use crate::writers::{Asks, Habit, Write, Writers};

/// So many that one of them is always about to ask a member that is left.
const CLIENTS: usize = 12;
/// Clients that give up soon and ask the next member. What they wait is in the figure, so it is
/// short beside an election.
const HABIT: Habit = Habit {
    attempt_max: Duration::from_millis(100),
    pause: Duration::from_millis(5),
    asks: Asks::NextAfterFailure,
    value_bytes: 256,
};
/// The leader is killed after a random part of this: heartbeats come every 100 ms.
const MOMENT_MAX: Duration = Duration::from_secs(1);
/// No election takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Failover {
    /// Leaders to kill of each server
    #[arg(long, default_value_t = 50)]
    kills: usize,
    #[command(flatten)]
    setting: Setting,
}

pub(crate) async fn run(failover: &Failover) -> Result<(), Box<dyn Error>> {
    failover.setting.print()?;
    let mut all = Vec::new();
    for subject in failover.setting.subjects()? {
        all.push((Cluster::start(&subject, &failover.setting, &[]).await?, Vec::new()));
    }
    // In turn, so that noise of the machine hits all.
    for _ in 0..failover.kills {
        for (cluster, pauses) in &mut all {
            pauses.push(kill(cluster).await?);
        }
    }
    println!(
        "Leader killed with SIGKILL at a random moment, {} times each, while {CLIENTS} clients \
         write through all members ({} ms for an attempt, then the next member): from the kill to \
         the answer to the first write that was sent after it.",
        failover.kills,
        HABIT.attempt_max.as_millis()
    );
    let mut report = Report::new(&["p50", "p90", "p99", "max"]);
    let row = |(cluster, mut pauses): (Cluster, Vec<Duration>)| {
        let figures = [50, 90, 99, 100].map(|percent| percentile(&mut pauses, percent));
        (cluster.name.clone(), figures.into())
    };
    let rows: Vec<(String, Vec<Figure>)> = all.into_iter().map(row).collect();
    report.group("", &rows);
    println!("{report}");
    Ok(())
}

/// The time from the leader's death to the next write that gets through; the dead member is
/// back when this returns.
async fn kill(cluster: &mut Cluster) -> Result<Duration, Box<dyn Error>> {
    let places: Vec<usize> = (0..cluster.members.len()).collect();
    let mut writers = Writers::start(cluster, &places, CLIENTS, &HABIT)?;
    writers.until(PATIENCE, Write::acknowledged).await?;
    let (leader, _) = cluster.leader().await?;
    tokio::time::sleep(MOMENT_MAX.mul_f64(rand::random())).await;
    let death = cluster.kill(leader)?;
    // What was sent before may have been committed before, and proves nothing.
    let acknowledged = writers.until(PATIENCE, |write| {
        write.acknowledged() && write.sent > death.gone && write.place != leader
    });
    let pause = acknowledged.await?.duration_since(death.signalled);
    cluster.launch(leader)?;
    cluster.caught_up(leader).await?;
    writers.finish().await;
    Ok(pause)
}
