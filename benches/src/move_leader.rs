//! What a planned move of leadership costs those who write meanwhile.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use api::etcdserverpb::MoveLeaderRequest;
use api::etcdserverpb::maintenance_client::MaintenanceClient;
use clap::Args;

use crate::cluster::Cluster;
use crate::figures::{Figure, Report, percentile};
use crate::setting::Setting;
use crate::writers::{Asks, Habit, Write, Writers, longest_pause};

const CLIENTS: usize = 12;
/// Clients that never try again and never ask another member: each failure is one that a user
/// without retries would see. They wait longer than etcd's own 7 s for a request.
const HABIT: Habit = Habit {
    attempt_max: Duration::from_secs(10),
    pause: Duration::from_millis(5),
    asks: Asks::One,
    value_bytes: 256,
};
/// The load before a move and after it.
const AROUND: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct MoveLeader {
    /// Moves of leadership of each server
    #[arg(long, default_value_t = 50)]
    moves: usize,
    #[command(flatten)]
    setting: Setting,
}

#[derive(Default)]
struct Moves {
    /// The longest pause before each move, from its begin on, and the longest wait of a client.
    calm: Vec<Duration>,
    pauses: Vec<Duration>,
    waits: Vec<Duration>,
    calls: Vec<Duration>,
    writes: usize,
    /// What failed, by what the client saw; moves that were refused too.
    failures: BTreeMap<String, usize>,
}

pub(crate) async fn run(move_leader: &MoveLeader) -> Result<(), Box<dyn Error>> {
    move_leader.setting.print()?;
    let mut all = Vec::new();
    for subject in move_leader.setting.subjects()? {
        let cluster = Cluster::start(&subject, &move_leader.setting, &[]).await?;
        all.push((cluster, Moves::default()));
    }
    // In turn, so that noise of the machine hits all.
    for round in 0..move_leader.moves {
        for (cluster, moves) in &mut all {
            moves.add(cluster, round).await?;
        }
    }
    println!(
        "Leader moved {} times each while {CLIENTS} clients write through all members without \
         retries: the longest time between two acknowledged writes of anyone, from the call of \
         MoveLeader to {} ms after its answer.",
        move_leader.moves,
        AROUND.as_millis()
    );
    println!("{}", report(&mut all));
    for (cluster, moves) in &all {
        for (failure, count) in &moves.failures {
            println!("{}: {count} x {failure}", cluster.name);
        }
    }
    Ok(())
}

impl Moves {
    /// Moves the leader once, to each of the others in turn.
    async fn add(&mut self, cluster: &Cluster, round: usize) -> Result<(), Box<dyn Error>> {
        let places: Vec<usize> = (0..cluster.members.len()).collect();
        for place in &places {
            cluster.caught_up(*place).await?;
        }
        let mut writers = Writers::start(cluster, &places, CLIENTS, &HABIT)?;
        writers.until(PATIENCE, Write::acknowledged).await?;
        let begin = Instant::now();
        let (leader, ids) = cluster.leader().await?;
        tokio::time::sleep(AROUND).await;
        let target = (leader + 1 + round % (places.len() - 1)) % places.len();
        let mut client = MaintenanceClient::new(cluster.members[leader].channel());
        let called = Instant::now();
        let moved = client.move_leader(MoveLeaderRequest { target_id: ids[target] }).await;
        self.calls.push(called.elapsed());
        if let Err(status) = moved {
            self.fail(format!("MoveLeader: {:?}: {}", status.code(), status.message()));
        }
        let after = Instant::now() + AROUND;
        let end = writers.until(PATIENCE, |write| write.acknowledged() && write.sent > after);
        let end = end.await?;
        let writes = writers.finish().await;
        self.calm.push(longest_pause(&writes, begin, called));
        self.pauses.push(longest_pause(&writes, called, end));
        let waits = writes.iter().map(|write| write.answered.duration_since(write.sent));
        self.waits.push(waits.max().unwrap_or_default());
        self.writes += writes.len();
        for failure in writes.into_iter().filter_map(|write| write.outcome.err()) {
            self.fail(format!("write: {failure}"));
        }
        Ok(())
    }

    fn fail(&mut self, failure: String) {
        *self.failures.entry(failure).or_default() += 1;
    }

    fn figures(&mut self) -> Vec<Figure> {
        let mut figures: Vec<Figure> =
            [50, 99, 100].map(|percent| percentile(&mut self.pauses, percent)).into();
        figures.push(percentile(&mut self.calm, 50));
        figures.push(percentile(&mut self.calls, 50));
        figures.push(percentile(&mut self.waits, 100));
        figures.push(Figure::Count(self.writes));
        figures.push(Figure::Count(self.failures.values().sum()));
        figures
    }
}

fn report(all: &mut [(Cluster, Moves)]) -> Report {
    let mut report = Report::new(&[
        "longest pause: p50",
        "p99",
        "max",
        "without a move: p50",
        "the call: p50",
        "longest wait of a client",
        "writes",
        "failed",
    ]);
    let row = |(cluster, moves): &mut (Cluster, Moves)| (cluster.name.clone(), moves.figures());
    let rows: Vec<_> = all.iter_mut().map(row).collect();
    report.group("", &rows);
    report
}
