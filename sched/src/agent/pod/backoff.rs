//! How long to wait before the same is tried again.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::spec::annotation;

/// Annotations by which a pod has its own times, as `2s` or `500ms`.
const FIRST: &str = "berth.dev/restart-backoff";
const MAX: &str = "berth.dev/restart-backoff-max";
/// More would be more than any bound.
const DOUBLINGS_MAX: u32 = 16;

/// Doubling pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent) struct Backoff {
    pub(in crate::agent) first: SignedDuration,
    pub(in crate::agent) max: SignedDuration,
    /// Who ran so long starts anew.
    pub(in crate::agent) reset: SignedDuration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: SignedDuration::from_secs(10),
            max: SignedDuration::from_mins(5),
            reset: SignedDuration::from_mins(10),
        }
    }
}

impl Backoff {
    /// As the pod wishes; what it does not say, or says badly, is as here.
    pub(super) fn of(self, pod: &Pod) -> Self {
        let read = |key| {
            let text = annotation(pod, key)?;
            text.parse::<SignedDuration>().ok().filter(SignedDuration::is_positive)
        };
        let first = read(FIRST).unwrap_or(self.first);
        Self { first, max: read(MAX).unwrap_or(self.max).max(first), ..self }
    }

    /// Before the next try, after so many failures in a row: none after the first one of a
    /// container that ran.
    pub(super) fn restart(&self, streak: u32) -> SignedDuration {
        match streak {
            0 | 1 => SignedDuration::ZERO,
            streak => self.failure(streak - 1),
        }
    }

    /// Before the next try of what has failed so often: 1 or more.
    pub(super) fn failure(&self, count: u32) -> SignedDuration {
        let doublings = count.saturating_sub(1).min(DOUBLINGS_MAX);
        self.first.checked_mul(1 << doublings).unwrap_or(self.max).min(self.max)
    }

    /// Failures in a row, with that of a container that had so many before it and ran from `from`
    /// to `to`.
    pub(super) fn streak(&self, before: u32, from: Timestamp, to: Timestamp) -> u32 {
        if to.duration_since(from) >= self.reset { 0 } else { before.saturating_add(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        // Proves Kubernetes' row: at once, then 10 s doubling to 5 min, and what a pod may change.
        let row = |backoff: Backoff| -> Vec<i64> {
            (0..9).map(|streak| backoff.restart(streak).as_secs()).collect()
        };
        assert_eq!(row(Backoff::default()), [0, 0, 10, 20, 40, 80, 160, 300, 300]);
        let mut pod = Pod::default();
        let own = [(FIRST.to_owned(), "2s".to_owned()), (MAX.to_owned(), "5s".to_owned())];
        pod.metadata.annotations = Some(own.into());
        assert_eq!(row(Backoff::default().of(&pod)), [0, 0, 2, 4, 5, 5, 5, 5, 5]);
        let started = Timestamp::UNIX_EPOCH;
        let long = started + SignedDuration::from_mins(10);
        assert_eq!(Backoff::default().streak(5, started, long), 0);
        assert_eq!(Backoff::default().streak(5, started, started), 6);
    }
}
