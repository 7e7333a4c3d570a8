//! What a member that joins by a large snapshot costs the others: memory, and pauses of writes.

use std::error::Error;
use std::time::{Duration, Instant};

use clap::Args;

use crate::cluster::{Cluster, Memory};
use crate::figures::{Figure, Report};
use crate::load;
use crate::server::Subject;
use crate::setting::Setting;
use crate::writers::{Asks, Habit, Write, Writers, longest_pause};

/// Large values fill a store fast.
const VALUE_BYTES: usize = 64 << 10;
/// etcd sends a snapshot if its log, by count of entries, does not reach back: 5,000 behind the
/// last snapshot. berth goes by bytes, and takes the flag without effect.
const FLAGS: [&str; 4] = ["--quota-backend-bytes", "8589934592", "--snapshot-count", "1000"];
/// Writes that go on meanwhile, at the leader.
const CLIENTS: usize = 8;
const HABIT: Habit = Habit {
    attempt_max: Duration::from_secs(10),
    pause: Duration::from_millis(5),
    asks: Asks::One,
    value_bytes: 256,
};
/// After filling, until memory is looked at: what the filling left behind is written then.
const CALM: Duration = Duration::from_secs(30);
/// The load before the member joins and after it has caught up.
const AROUND: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct SnapshotTransfer {
    /// Size of the state
    #[arg(long, default_value_t = 1024)]
    size_mb: usize,
    #[command(flatten)]
    setting: Setting,
}

pub(crate) async fn run(transfer: &SnapshotTransfer) -> Result<(), Box<dyn Error>> {
    transfer.setting.print()?;
    println!(
        "A learner joins three members that hold {} MiB in values of {} KiB, while {CLIENTS} \
         clients write to the leader. Memory is resident memory (/proc/PID/status); its own part \
         is what is no mapped file.",
        transfer.size_mb,
        VALUE_BYTES >> 10
    );
    let mut memory = Report::new(&["before", "peak", "increase", "increase of its own part"]);
    let mut course = Report::new(&[
        "joined after",
        "snapshots sent",
        "longest pause of writes",
        "before it joined",
        "failed writes",
    ]);
    let mut rows = Vec::new();
    for subject in transfer.setting.subjects()? {
        let transferred = measure(&subject, transfer).await?;
        for (member, figures) in transferred.memory {
            memory.group(&member, &[(subject.name.clone(), figures)]);
        }
        rows.push((subject.name.clone(), transferred.course));
    }
    course.group("", &rows);
    println!("{course}\n{memory}");
    Ok(())
}

struct Transferred {
    course: Vec<Figure>,
    memory: Vec<(String, Vec<Figure>)>,
}

async fn measure(
    subject: &Subject,
    transfer: &SnapshotTransfer,
) -> Result<Transferred, Box<dyn Error>> {
    let mut cluster = Cluster::start(subject, &transfer.setting, &FLAGS).await?;
    let keys = transfer.size_mb * (1 << 20) / VALUE_BYTES;
    let (leader, _) = cluster.leader().await?;
    load::fill(cluster.members[leader].channel(), keys as u64, VALUE_BYTES).await?;
    for place in 0..cluster.members.len() {
        cluster.caught_up(place).await?;
    }
    tokio::time::sleep(CALM).await;

    let (leader, _) = cluster.leader().await?;
    let voters: Vec<usize> = (0..cluster.members.len()).collect();
    let mut writers = Writers::start(&cluster, &[leader], CLIENTS, &HABIT)?;
    writers.until(PATIENCE, Write::acknowledged).await?;
    let begin = Instant::now();
    tokio::time::sleep(AROUND).await;

    let mut watches =
        voters.iter().map(|place| Watch::begin(&cluster, *place)).collect::<Result<Vec<_>, _>>()?;
    let snapshots = cluster.snapshots_sent(&voters).await;
    let called = Instant::now();
    let learner = cluster.join().await?;
    watches.push(Watch::from_nothing(learner));
    {
        let mut caught_up = std::pin::pin!(cluster.caught_up(learner));
        while tokio::time::timeout(LOOK, &mut caught_up).await.ok().transpose()?.is_none() {
            for watch in &mut watches {
                watch.look(&cluster)?;
            }
        }
    }
    let joined = called.elapsed();
    // What the transfer left behind is let go only now, or only now comes.
    let end = Instant::now() + AROUND;
    while Instant::now() < end {
        tokio::time::sleep(LOOK).await;
        for watch in &mut watches {
            watch.look(&cluster)?;
        }
    }
    let writes = writers.finish().await;
    let course = vec![
        Figure::Time(joined),
        Figure::Count(cluster.snapshots_sent(&voters).await - snapshots),
        Figure::Time(longest_pause(&writes, called, end)),
        Figure::Time(longest_pause(&writes, begin, called)),
        Figure::Count(writes.iter().filter(|write| !write.acknowledged()).count()),
    ];
    let memory = watches.iter().map(|watch| {
        let role = match watch.place {
            place if place == leader => "leader",
            place if place == learner => "learner",
            _ => "follower",
        };
        (role.to_owned(), watch.figures())
    });
    Ok(Transferred { course, memory: memory.collect() })
}

/// One member's memory over the transfer.
struct Watch {
    place: usize,
    before: Memory,
    peak: i64,
    own_peak: i64,
}

impl Watch {
    fn begin(cluster: &Cluster, place: usize) -> Result<Self, Box<dyn Error>> {
        cluster.members[place].forget_peak()?;
        let before = cluster.members[place].memory()?;
        Ok(Self { place, before, peak: before.resident, own_peak: before.own })
    }

    /// Of a member that has just been started.
    fn from_nothing(place: usize) -> Self {
        Self { place, before: Memory::default(), peak: 0, own_peak: 0 }
    }

    fn look(&mut self, cluster: &Cluster) -> Result<(), Box<dyn Error>> {
        let now = cluster.members[self.place].memory()?;
        // The kernel's own peak misses nothing; of a process's own part it keeps none.
        self.peak = self.peak.max(now.peak);
        self.own_peak = self.own_peak.max(now.own);
        Ok(())
    }

    fn figures(&self) -> Vec<Figure> {
        [
            self.before.resident,
            self.peak,
            self.peak - self.before.resident,
            self.own_peak - self.before.own,
        ]
        .map(Figure::Bytes)
        .into()
    }
}
