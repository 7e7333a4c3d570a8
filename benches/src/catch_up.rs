//! How long a follower needs to catch up that was away under full load.

use std::error::Error;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::cluster::{BEHIND_MAX, Cluster};
use crate::figures::{Figure, Report};
use crate::server::Subject;
use crate::setting::Setting;
use crate::writers::{Asks, Habit, Write, Writers, longest_pause};

/// Clients that leave no pause: as much as the two members that are there can take.
const HABIT: Habit = Habit {
    attempt_max: Duration::from_secs(10),
    pause: Duration::ZERO,
    asks: Asks::One,
    value_bytes: 256,
};
const PATIENCE: Duration = Duration::from_secs(60);
/// The load before the follower goes and after it is back.
const AROUND: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct CatchUp {
    /// How long the follower is away
    #[arg(long, default_value_t = 60)]
    stopped_s: u64,
    /// Clients, spread over the two members that stay
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// How the follower goes: stopped (SIGSTOP, then SIGCONT) or killed and restarted
    #[arg(long, value_enum, value_delimiter = ',', default_value = "stopped,killed")]
    modes: Vec<Mode>,
    #[command(flatten)]
    setting: Setting,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    Stopped,
    Killed,
}

pub(crate) async fn run(catch_up: &CatchUp) -> Result<(), Box<dyn Error>> {
    catch_up.setting.print()?;
    println!(
        "A follower is away for {} s while {} clients write values of {} bytes through the other \
         two without pause, which goes on when it is back; from its return (SIGCONT, or the start \
         of its process) until it has applied what the others have, but for {BEHIND_MAX} entries.",
        catch_up.stopped_s, catch_up.clients, HABIT.value_bytes
    );
    let mut report = Report::new(&[
        "caught up after",
        "snapshots sent",
        "entries missed",
        "writes while all are there",
        "while it is away",
        "while it catches up",
        "longest pause then",
        "failed writes",
    ]);
    for mode in &catch_up.modes {
        let mut rows = Vec::new();
        for subject in catch_up.setting.subjects()? {
            rows.push((subject.name.clone(), measure(&subject, catch_up, *mode).await?));
        }
        let how = mode.to_possible_value().ok_or("a mode has a name")?;
        report.group(how.get_name(), &rows);
    }
    println!("{report}");
    Ok(())
}

async fn measure(
    subject: &Subject,
    catch_up: &CatchUp,
    mode: Mode,
) -> Result<Vec<Figure>, Box<dyn Error>> {
    let mut cluster = Cluster::start(subject, &catch_up.setting, &[]).await?;
    let (leader, _) = cluster.leader().await?;
    let follower = (leader + 1) % cluster.members.len();
    let stay: Vec<usize> = (0..cluster.members.len()).filter(|place| *place != follower).collect();
    let mut writers = Writers::start(&cluster, &stay, catch_up.clients, &HABIT)?;
    writers.until(PATIENCE, Write::acknowledged).await?;
    let begin = Instant::now();
    tokio::time::sleep(AROUND).await;

    let (gone, had) = (Instant::now(), cluster.applied(follower).await);
    match mode {
        Mode::Stopped => cluster.members[follower].signal("STOP")?,
        Mode::Killed => {
            cluster.kill(follower)?;
        }
    }
    tokio::time::sleep(Duration::from_secs(catch_up.stopped_s)).await;
    let (snapshots, applied) = (cluster.snapshots_sent(&stay).await, cluster.applied(leader).await);
    let back = Instant::now();
    match mode {
        Mode::Stopped => cluster.members[follower].signal("CONT")?,
        Mode::Killed => cluster.launch(follower)?,
    }
    cluster.caught_up(follower).await?;
    let level = Instant::now();
    tokio::time::sleep(AROUND).await;
    let snapshots = cluster.snapshots_sent(&stay).await - snapshots;

    let writes = writers.finish().await;
    Ok(vec![
        Figure::Time(level - back),
        Figure::Count(snapshots),
        Figure::Count(usize::try_from(applied.saturating_sub(had))?),
        rate(&writes, begin, gone),
        rate(&writes, gone, back),
        rate(&writes, back, level + AROUND),
        Figure::Time(longest_pause(&writes, back, level + AROUND)),
        Figure::Count(writes.iter().filter(|write| !write.acknowledged()).count()),
    ])
}

fn rate(writes: &[Write], from: Instant, to: Instant) -> Figure {
    let within = |write: &&Write| write.acknowledged() && (from..to).contains(&write.answered);
    Figure::rate(writes.iter().filter(within).count(), to - from)
}
