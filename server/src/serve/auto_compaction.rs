//! Compaction without being asked, in etcd's two modes
//! (`server/etcdserver/api/v3compactor/periodic.go`, `revision.go`).

use std::collections::VecDeque;
use std::time::Duration;

use raft::ServerNode;
use tokio::time::Instant;

use super::proposals;
use crate::config::AutoCompaction;

/// The longest time between two periodic compactions.
const PERIODIC_MAX: Duration = Duration::from_secs(3600);
/// Samples of the revision in one such time.
const SAMPLES: u32 = 10;
/// How often the revision mode looks.
const REVISION_INTERVAL: Duration = Duration::from_secs(300);

/// Compacts for ever, as long as this member leads.
pub(super) async fn run(node: ServerNode, mode: AutoCompaction) {
    let start = Instant::now();
    let mut plan = Plan::new(mode);
    loop {
        plan.sample(node.reader().revision());
        tokio::time::sleep(plan.interval()).await;
        let now = start.elapsed();
        let leads = node.leader() == Some(node.member_id());
        let Some(revision) = plan.due(now).filter(|_| leads) else { continue };
        match node.propose(proposals::compact(revision)).await.map(|applied| applied.result) {
            Ok(Ok(_) | Err(store::Error::Compacted)) => {
                tracing::info!(revision, "completed auto compaction");
                plan.done(now, revision);
            }
            Ok(Err(error)) => tracing::warn!(revision, ?error, "failed auto compaction"),
            Err(error) => tracing::warn!(revision, error = %error, "failed auto compaction"),
        }
    }
}

/// What to compact when, without a clock of its own.
struct Plan {
    mode: AutoCompaction,
    /// Revisions as they were at the last samples; the first is as old as the retention.
    samples: VecDeque<i64>,
    last_success: Duration,
    last_revision: i64,
    succeeded: bool,
}

impl Plan {
    fn new(mode: AutoCompaction) -> Self {
        Self {
            mode,
            samples: VecDeque::new(),
            last_success: Duration::ZERO,
            last_revision: 0,
            succeeded: false,
        }
    }

    /// Time between samples.
    fn interval(&self) -> Duration {
        match self.mode {
            AutoCompaction::Periodic(period) => {
                (period.min(PERIODIC_MAX) / SAMPLES).max(Duration::from_millis(1))
            }
            AutoCompaction::Revision(_) => REVISION_INTERVAL,
        }
    }

    /// How many samples reach back over the whole retention.
    fn samples_max(&self) -> usize {
        match self.mode {
            AutoCompaction::Periodic(period) => {
                let spans = period.as_nanos() / self.interval().as_nanos() + 1;
                usize::try_from(spans).unwrap_or(usize::MAX)
            }
            AutoCompaction::Revision(_) => 1,
        }
    }

    fn sample(&mut self, revision: i64) {
        self.samples.push_back(revision);
        if self.samples.len() > self.samples_max() {
            self.samples.pop_front();
        }
    }

    /// The revision to compact now, if it is time.
    fn due(&self, now: Duration) -> Option<i64> {
        let sampled = *self.samples.front()?;
        let revision = match self.mode {
            // The first compaction waits for the whole retention, later ones at most an hour.
            AutoCompaction::Periodic(period) => {
                let wait = if self.succeeded { period.min(PERIODIC_MAX) } else { period };
                (now.saturating_sub(self.last_success) >= wait).then_some(sampled)?
            }
            AutoCompaction::Revision(keep) => sampled - keep,
        };
        (revision > 0 && revision != self.last_revision).then_some(revision)
    }

    fn done(&mut self, now: Duration, revision: i64) {
        self.last_success = now;
        self.last_revision = revision;
        self.succeeded = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Runs a plan for some intervals with one revision more each, and lists what it compacted:
    /// the interval and the revision.
    fn simulate(mode: AutoCompaction, intervals: u32) -> Vec<(u32, i64)> {
        let mut plan = Plan::new(mode);
        let mut compacted = Vec::new();
        for step in 1..=intervals {
            plan.sample(i64::from(step));
            let now = plan.interval() * step;
            if let Some(revision) = plan.due(now) {
                plan.done(now, revision);
                compacted.push((step, revision));
            }
        }
        compacted
    }

    #[test]
    fn periodic_keeps_the_retention() {
        // Shows that with five hours nothing goes for five hours, then every hour what is older.
        let compacted = simulate(AutoCompaction::Periodic(5 * HOUR), 80);
        assert_eq!(compacted, [(50, 1), (60, 10), (70, 20), (80, 30)]);
    }

    #[test]
    fn a_short_retention_compacts_as_often() {
        // Shows a retention under an hour: each retention, what was there one retention ago.
        let compacted = simulate(AutoCompaction::Periodic(HOUR / 60), 30);
        assert_eq!(compacted, [(10, 1), (20, 10), (30, 20)]);
    }

    #[test]
    fn revision_mode_keeps_a_number() {
        // Shows that the newest revisions stay, and that an idle store is left alone.
        assert_eq!(simulate(AutoCompaction::Revision(3), 5), [(4, 1), (5, 2)]);
        let mut plan = Plan::new(AutoCompaction::Revision(3));
        plan.sample(9);
        plan.done(Duration::ZERO, 6);
        plan.sample(9);
        assert_eq!(plan.due(HOUR), None);
    }
}
