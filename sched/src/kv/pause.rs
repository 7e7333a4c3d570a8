//! How long to wait before the next try.

use std::time::Duration;

use rand::Rng;

const FIRST: Duration = Duration::from_millis(50);
/// What a store that comes back waits for its clients, at most.
const LONGEST: Duration = Duration::from_secs(2);

/// Doubles from try to try, with some luck in it so that crowds spread. The first try after a
/// success comes at once: usually another member answers it.
#[derive(Debug)]
pub(crate) struct Pause {
    failures: u32,
    longest: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl Pause {
    /// With pauses of at most `longest`, for those who cannot wait.
    pub(crate) fn up_to(longest: Duration) -> Self {
        Self { failures: 0, longest: longest.min(LONGEST) }
    }

    /// Failures since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits as is right after one more failure. Cancel safe.
    pub(crate) async fn wait(&mut self) {
        self.failures = self.failures.saturating_add(1);
        if let Some(length) = self.length() {
            tokio::time::sleep(length).await;
        }
    }

    fn length(&self) -> Option<Duration> {
        let doublings = self.failures.checked_sub(2)?.min(16);
        let full = FIRST.saturating_mul(1 << doublings).min(self.longest);
        Some(full.mul_f64(rand::rng().random_range(0.5..=1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        // Proves that the first try is at once, the later ones spread, and none is too far off.
        let length = |failures| Pause { failures, ..Pause::default() }.length();
        assert_eq!(length(1), None);
        assert!(length(2).unwrap() <= FIRST);
        for failures in 3..100 {
            let length = length(failures).unwrap();
            assert!(length >= FIRST && length <= LONGEST, "{failures}: {length:?}");
            let hasty = Pause { failures, ..Pause::up_to(FIRST) };
            assert!(hasty.length().unwrap() <= FIRST);
        }
    }
}
