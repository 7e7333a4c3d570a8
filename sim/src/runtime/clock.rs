//! The clocks of processes: none goes quite right.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use openraft_rt::instant::Instant;
use openraft_rt_sim::SimInstant;

use super::Process;

/// Keeps subtractions from the beginning of time in range, in nanoseconds.
const EPOCH_NS: u64 = 86_400_000_000_000;

/// A point on the clock of one process, in nanoseconds. Those of two processes cannot be compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(u64);

/// How a process's clock goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The world's time at which the process began, in nanoseconds.
    born_ns: u64,
    /// What the clock showed then.
    shown_ns: u64,
    /// Too fast by so many millionths; negative: too slow.
    drift_ppm: i64,
}

impl Clock {
    /// A clock that is `drift_ppm` too fast, and was wrong by `ahead` before.
    pub(crate) fn new(ahead: Duration, drift_ppm: i64) -> Clock {
        Clock { born_ns: world_ns(), shown_ns: EPOCH_NS + nanos(ahead), drift_ppm }
    }

    fn now(&self) -> Moment {
        let passed = world_ns() - self.born_ns;
        Moment(self.shown_ns + scaled(passed, 1_000_000 + self.drift_ppm, 1_000_000))
    }

    /// How long the world has to wait until this clock has gone on by `duration`.
    fn to_world(self, duration: Duration) -> Duration {
        let ns = scaled(nanos(duration), 1_000_000, 1_000_000 + self.drift_ppm);
        // Rounded up: whoever wakes finds the time passed.
        Duration::from_nanos(ns.saturating_add(2))
    }
}

/// The world's own time since its beginning, in nanoseconds: what an outside observer measures by.
/// 0 when there is no world any more.
pub(crate) fn world_ns() -> u64 {
    SimInstant::try_now().map_or(0, |now| nanos(now.elapsed_since_start()))
}

/// By the clock of the process that asks.
pub(super) fn now() -> Moment {
    match Process::current() {
        Some(process) => process.clock().now(),
        None => Moment(EPOCH_NS + world_ns()),
    }
}

pub(super) fn to_world(duration: Duration) -> Duration {
    match Process::current() {
        Some(process) if !duration.is_zero() => process.clock().to_world(duration),
        _ => duration,
    }
}

fn scaled(ns: u64, by: i64, per: i64) -> u64 {
    let scaled = i128::from(ns) * i128::from(by) / i128::from(per);
    u64::try_from(scaled).expect("times are far from the ends of their range")
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX >> 8)
}

impl Instant for Moment {
    fn now() -> Moment {
        now()
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, by: Duration) -> Moment {
        Moment(self.0.saturating_add(nanos(by)))
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;

    fn sub(self, by: Duration) -> Moment {
        Moment(self.0.saturating_sub(nanos(by)))
    }
}

impl SubAssign<Duration> for Moment {
    fn sub_assign(&mut self, by: Duration) {
        *self = *self - by;
    }
}

impl Sub<Moment> for Moment {
    type Output = Duration;

    fn sub(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
