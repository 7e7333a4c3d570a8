//! How far the copy is behind.

use std::collections::VecDeque;

use tokio::time::{Duration, Instant};

/// Looks at the source that are kept; a mirror that is further behind counts from the oldest.
const SAMPLES_MAX: usize = 10_000;

/// What is known of the source, and how much of it is at the destination.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// Everything up to this revision of the source is at the destination.
    reached: i64,
    /// The newest revision of the source that was seen.
    newest: i64,
    /// When the source was found at revisions that are not reached yet, oldest first.
    samples: VecDeque<(Instant, i64)>,
    /// Transactions at the destination so far.
    pub(super) transactions: u64,
}

impl Lag {
    /// The source is at `revision` now.
    pub(super) fn sampled(&mut self, now: Instant, revision: i64) {
        self.newest = self.newest.max(revision);
        if revision > self.reached && self.samples.len() < SAMPLES_MAX {
            self.samples.push_back((now, revision));
        }
    }

    /// All up to `revision` is at the destination.
    pub(super) fn reached(&mut self, revision: i64) {
        self.reached = self.reached.max(revision);
        while self.samples.front().is_some_and(|(_, sample)| *sample <= self.reached) {
            self.samples.pop_front();
        }
    }

    /// Everything is being copied again: nothing counts as reached.
    pub(super) fn start_over(&mut self) {
        self.reached = 0;
    }

    pub(super) fn revision(&self) -> i64 {
        self.reached
    }

    /// Revisions of the source that are missing.
    pub(super) fn revisions(&self) -> i64 {
        (self.newest - self.reached).max(0)
    }

    /// How long ago the source was seen at a revision that is missing.
    pub(super) fn time(&self, now: Instant) -> Duration {
        self.samples.front().map_or(Duration::ZERO, |(seen, _)| now - *seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_counted_from_the_oldest_missing_revision() {
        // Proves that both lags grow while revisions are missing and are 0 once all are there.
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut lag = Lag::default();
        lag.sampled(at(0), 10);
        lag.sampled(at(5), 20);
        assert_eq!((lag.revisions(), lag.time(at(7)).as_secs()), (20, 7));
        lag.reached(12);
        assert_eq!((lag.revisions(), lag.time(at(7)).as_secs()), (8, 2));
        lag.reached(20);
        assert_eq!((lag.revisions(), lag.time(at(9)).as_secs()), (0, 0));
        lag.sampled(at(10), 20);
        assert_eq!(lag.time(at(12)), Duration::ZERO);
    }
}
