//! Admission by bytes in flight: overload slows callers down instead of filling memory.
//!
//! Large commands then take turns. All commands share one log, in order, so a small one waits for
//! the writing of every large one before it: no more of those are on their way at a time than cost
//! it a few milliseconds. Small ones never wait for a turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// From here on a command is large, in encoded bytes.
const LARGE_BYTES_MIN: usize = 32 << 10;
/// Large commands on their way through the log at a time.
const LARGE_INFLIGHT_BYTES_MAX: usize = TURNS as usize * TURN_BYTES;
/// What turns are counted in.
const TURN_BYTES: usize = 1 << 10;
const TURNS: u32 = 2 << 10;

const _: () = assert!(TURN_BYTES < LARGE_BYTES_MIN && LARGE_BYTES_MIN < LARGE_INFLIGHT_BYTES_MAX);

/// Counts the bytes of commands that are proposed and not yet answered.
#[derive(Clone)]
pub(crate) struct Admission {
    inflight: Arc<AtomicUsize>,
    bytes_max: usize,
    turns: Arc<Semaphore>,
}

/// Bytes let in; dropping it lets them out.
pub(crate) struct Permit {
    inflight: Arc<AtomicUsize>,
    bytes: usize,
    turns: Arc<Semaphore>,
    /// Held by a large command from its turn on.
    _turn: Option<OwnedSemaphorePermit>,
}

impl Admission {
    pub(crate) fn new(bytes_max: usize) -> Admission {
        let turns = Arc::new(Semaphore::new(TURNS as usize));
        Admission { inflight: Arc::default(), bytes_max, turns }
    }

    /// Lets `bytes` in, unless that passes the bound. One command alone always fits.
    pub(crate) fn enter(&self, bytes: usize) -> Result<Permit, Error> {
        let enter = |inflight: usize| {
            let after = inflight.saturating_add(bytes);
            (inflight == 0 || after <= self.bytes_max).then_some(after)
        };
        match self.inflight.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter) {
            Ok(_) => {
                let (inflight, turns) = (self.inflight.clone(), self.turns.clone());
                Ok(Permit { inflight, bytes, turns, _turn: None })
            }
            Err(_) => Err(Error::TooManyRequests),
        }
    }

    /// Lets `bytes` in whatever the bound: what keeps the cluster going is small, and overload must
    /// not put it off.
    pub(crate) fn enter_always(&self, bytes: usize) -> Permit {
        self.inflight.fetch_add(bytes, Ordering::AcqRel);
        let (inflight, turns) = (self.inflight.clone(), self.turns.clone());
        Permit { inflight, bytes, turns, _turn: None }
    }

    pub(crate) fn inflight_bytes(&self) -> usize {
        self.inflight.load(Ordering::Acquire)
    }
}

impl Permit {
    /// Whether it is of a large command.
    pub(crate) fn is_large(&self) -> bool {
        self.bytes >= LARGE_BYTES_MIN
    }

    /// Waits until a large command may be written, in the order of arrival; others never wait. One
    /// command alone always may. Dropped before that, it has taken nothing.
    pub(crate) async fn take_turn(&mut self) {
        if !self.is_large() {
            return;
        }
        let turns = u32::try_from(self.bytes / TURN_BYTES).map_or(TURNS, |turns| turns.min(TURNS));
        let turn = self.turns.clone().acquire_many_owned(turns).await;
        self._turn = Some(turn.expect("the semaphore of turns is never closed"));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.inflight.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn past_the_bound_callers_are_refused_until_others_leave() {
        // Proves the bound, that leaving makes room, and that no command is too large for ever.
        let admission = Admission::new(100);
        let first = admission.enter(60).unwrap();
        let second = admission.enter(40).unwrap();
        assert_eq!(admission.enter(1).err(), Some(Error::TooManyRequests));
        drop(first);
        assert_eq!(admission.inflight_bytes(), 40);
        admission.enter(60).unwrap();
        assert_eq!(admission.enter(61).err(), Some(Error::TooManyRequests));
        drop(second);
        admission.enter(1000).unwrap();
    }

    #[test]
    fn large_commands_take_turns_and_small_ones_pass_them() {
        // Proves that as many large ones as fit have their turn, that the others follow in order as
        // those leave, that one which gives up is passed over, and that a small one never waits.
        let admission = Admission::new(usize::MAX);
        let enter = |bytes| admission.enter(bytes).unwrap();
        let now = |permit: &mut Permit| permit.take_turn().now_or_never().is_some();

        let (mut first, mut second) = (enter(3 << 19), enter(1 << 20));
        assert!(now(&mut first));
        let mut waiting = Box::pin(second.take_turn());
        assert!((&mut waiting).now_or_never().is_none(), "no room for both");
        let mut third = enter(LARGE_BYTES_MIN);
        assert!(!now(&mut third), "it would fit, and is not served before its turn");
        assert!(now(&mut enter(LARGE_BYTES_MIN - 1)), "small");

        drop(first);
        assert!((&mut waiting).now_or_never().is_some());
        drop(waiting);
        let mut huge = enter(1 << 30);
        assert!(!now(&mut huge), "it takes all turns, and some are taken");
        assert!(now(&mut third), "whoever gave up holds up nobody");
        drop((second, third));
        assert!(now(&mut huge), "alone it may");
    }
}
