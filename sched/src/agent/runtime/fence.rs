//! Until when a node may run what others start as soon as its lease is over.
//!
//! Times are of `CLOCK_BOOTTIME`: it goes on while the machine sleeps, is the same for every process
//! of it, and nobody can set it.

use std::time::Duration;

use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// What containers get to end in when the node is losing its lease.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// This part of a lease is left when they have been killed.
const SPARE: u32 = 12;

/// How long it is since the machine booted.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), nanoseconds)
}

/// Sleeps until then, or a little less: the caller looks again.
pub(super) fn sleep_until(at: Duration) {
    let request = Timespec {
        tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: at.subsec_nanos().into(),
    };
    // A signal may end it before.
    let _ = clock_nanosleep_absolute(ClockId::Boottime, &request);
}

/// When containers whose agent does not end them must be asked to end, to be gone before the lease:
/// not before the agent itself would (`fades`), counted from when the renewal was sent.
pub(crate) fn ask_after(ttl: Duration, fades: Duration) -> Duration {
    ttl.saturating_sub(GRACE + ttl / SPARE).max(fades)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_to_end_is_gone_before_the_lease() {
        // Proves for leases of 3 s and more that the grace fits before their end, and that the agent
        // has its turn before.
        for ttl_s in 3..120 {
            let ttl = Duration::from_secs(ttl_s);
            let fades = ttl * 2 / 3;
            let asked = ask_after(ttl, fades);
            assert!(asked >= fades && asked + GRACE <= ttl, "{ttl_s} s: {asked:?}");
        }
        assert_eq!(ask_after(Duration::from_secs(9), Duration::from_secs(6)).as_millis(), 7250);
    }

    #[test]
    fn the_clock_goes_on_and_can_be_waited_for() {
        // Proves that a sleep until a time ends at that time or later, and one in the past at once.
        let begun = now();
        let at = begun + Duration::from_millis(30);
        while now() < at {
            sleep_until(at);
        }
        sleep_until(begun);
        assert!(now() >= at);
    }
}
