//! The leader's lease clock.
//!
//! What a lease is and which keys hang on it is replicated state, in the store. When its time is
//! up is not: only the leader watches the clock, and a lease ends when the command that says so is
//! applied. Nobody else's clock counts, and none is ever written down: after a restart or a change
//! of leader a lease has its full time again, or what was left of a long one when the leader last
//! put that into the log (a checkpoint). This room must never call a lease expired before its
//! deadline by the runtime's monotonic clock, and never promise a time that a later leader would not
//! keep.
//!
//! Start at [`Lessor`]; the queue of deadlines is `deadlines.rs`, the tasks that propose expiries and
//! checkpoints are `expiry.rs` and `checkpoint.rs`. `docs/internals/cluster.md` tells the whole.

mod checkpoint;
mod deadlines;
mod expiry;

use std::sync::Arc;
use std::time::Duration;
use store::planted::{self, Mistake};

use api::berthpb::command::Op;
use api::berthpb::{CheckpointedLease, Command};
use futures::channel::oneshot;
use openraft::{AsyncRuntime, Instant};
use parking_lot::Mutex;
use store::{Applied, LeaseInfo, Response};

pub(crate) use checkpoint::{reset, run as run_checkpoints};
pub(crate) use expiry::run;

use crate::error::Error;
use crate::signal::Signal;
use deadlines::{Deadlines, Due, Left, Renewed, Reset};

fn is_of_leases(command: &Command) -> bool {
    matches!(
        command.op,
        Some(
            Op::LeaseGrant(_) | Op::LeaseRevoke(_) | Op::ExpireLeases(_) | Op::CheckpointLeases(_)
        )
    )
}

/// A handle on the lease clock; clones share it.
pub struct Lessor<R: AsyncRuntime> {
    shared: Arc<Shared<R>>,
}

struct Shared<R: AsyncRuntime> {
    state: Mutex<State<R>>,
    /// Raised when the earliest deadline may have changed.
    changed: Signal,
    ttl_s_min: i64,
    checkpoint_interval: Option<Duration>,
}

/// What came of a keep-alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// The lease has its full time again: so many seconds.
    Until(i64),
    /// There is no such lease.
    Unknown,
    /// The log says that less is left: it has to say first that all is ([`reset`]), and
    /// [`Lessor::was_reset`] has to hear of it.
    Checkpointed(Reset),
}

struct State<R: AsyncRuntime> {
    phase: Phase,
    deadlines: Deadlines<R::Instant>,
    /// A command about leases is being applied: readers may see already what it did.
    learning: bool,
    /// Keep-alives that wait for the outcome of an expiry, or for this node to lead.
    waiting: Vec<oneshot::Sender<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Another leads, or this node has not yet applied what it must have.
    Following,
    Leading,
    Closed,
}

impl<R: AsyncRuntime> Lessor<R> {
    /// `checkpoint_interval`: how long the log goes without what is left of a lease; `None`: for
    /// ever.
    pub(crate) fn new(ttl_s_min: i64, checkpoint_interval: Option<Duration>) -> Lessor<R> {
        let deadlines = Deadlines::new(checkpoint_interval);
        let state =
            State { phase: Phase::Following, deadlines, learning: false, waiting: Vec::new() };
        Lessor {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Signal::default(),
                ttl_s_min,
                checkpoint_interval,
            }),
        }
    }

    /// The shortest time to live a lease is granted, in seconds: whoever proposes a grant raises
    /// shorter ones to this, as etcd does.
    pub fn ttl_s_min(&self) -> i64 {
        self.shared.ttl_s_min
    }

    /// Gives the lease its full time again. For a lease whose time is up, or of which a checkpoint
    /// is being proposed, it waits for the outcome. Cancel safe.
    ///
    /// # Errors
    /// [`Error::NoLeader`] if this node's clock does not count, [`Error::Stopped`] if the node shuts
    /// down meanwhile.
    pub(crate) async fn keep_alive(&self, id: i64) -> Result<Renewal, Error> {
        loop {
            let changed = {
                let mut state = self.shared.state.lock();
                match state.phase {
                    Phase::Closed => return Err(Error::Stopped),
                    Phase::Leading => match state.deadlines.renew(id, R::Instant::now()) {
                        Renewed::Until(ttl_s) => return Ok(Renewal::Until(ttl_s)),
                        Renewed::Unknown => return Ok(Renewal::Unknown),
                        Renewed::Checkpointed(reset) => {
                            return Ok(Renewal::Checkpointed(reset));
                        }
                        Renewed::Undecided => {}
                    },
                    Phase::Following => return Err(Error::NoLeader),
                }
                state.wait()
            };
            // Cancelled is how it is told.
            let _ = changed.await;
        }
    }

    /// Time left, in whole seconds rounded down; `None`: no such lease, or this node does not lead.
    pub fn remaining(&self, id: i64) -> Option<i64> {
        let left = self.shared.state.lock().deadlines.remaining(id, R::Instant::now())?;
        Some(i64::try_from(left.as_secs()).unwrap_or(i64::MAX))
    }

    /// Whether this node's clock counts.
    pub(crate) fn is_leading(&self) -> bool {
        self.shared.state.lock().phase == Phase::Leading
    }

    /// Returns when this node's clock counts, or never will. Cancel safe.
    pub(crate) async fn leading(&self) {
        loop {
            let changed = {
                let mut state = self.shared.state.lock();
                if state.phase != Phase::Following {
                    return;
                }
                state.wait()
            };
            // Cancelled is how it is told.
            let _ = changed.await;
        }
    }

    /// Whether there is such a lease; `None`: this node's clock does not count.
    pub(crate) fn knows(&self, id: i64) -> Option<bool> {
        let state = self.shared.state.lock();
        (state.phase == Phase::Leading).then(|| state.deadlines.contains(id))
    }

    /// Returns when the clock knows whatever a reader of the state could see before the call.
    /// Cancel safe.
    pub(crate) async fn learned(&self) {
        loop {
            let changed = {
                let mut state = self.shared.state.lock();
                if !state.learning || state.phase == Phase::Closed {
                    return;
                }
                state.wait()
            };
            // Cancelled is how it is told.
            let _ = changed.await;
        }
    }

    /// The command is going to be applied; [`Lessor::observe`] follows.
    pub(crate) fn expect(&self, command: &Command) {
        if is_of_leases(command) {
            self.shared.state.lock().learning = true;
        }
    }

    /// Learns from a command that was applied at `index`.
    pub(crate) fn observe(&self, index: u64, command: &Command, applied: &Applied) {
        self.learn(index, command, applied);
        if is_of_leases(command) {
            let mut state = self.shared.state.lock();
            state.learning = false;
            state.wake();
        }
    }

    fn learn(&self, index: u64, command: &Command, applied: &Applied) {
        let (Some(op), Ok(response)) = (&command.op, &applied.result) else { return };
        match (op, response) {
            (Op::LeaseGrant(_), Response::LeaseGrant(granted)) => {
                let (id, ttl_s) = (granted.id, granted.ttl);
                let (grant_index, remaining_s, keys) = (index, 0, 0);
                self.granted(&LeaseInfo { id, ttl_s, grant_index, remaining_s, keys });
            }
            (Op::LeaseRevoke(revoked), _) => self.ended(&[(revoked.id, None)]),
            (Op::ExpireLeases(expired), _) => {
                let ended: Vec<_> =
                    expired.leases.iter().map(|it| (it.id, Some(it.grant_index))).collect();
                self.ended(&ended);
            }
            (Op::CheckpointLeases(checkpointed), _) => self.checkpointed(&checkpointed.leases),
            _ => {}
        }
    }

    /// From now on this node's clock counts: `leases` (read while no grant can slip in between)
    /// get their full time, or what the last checkpoint says.
    pub(crate) fn promote(&self, leases: impl FnOnce() -> Vec<LeaseInfo>) {
        let mut state = self.shared.state.lock();
        if state.phase == Phase::Closed {
            return;
        }
        let now = R::Instant::now();
        state.phase = Phase::Leading;
        if planted::is(Mistake::WrongClock) {
            return self.shared.changed.raise();
        }
        state.deadlines = Deadlines::new(self.shared.checkpoint_interval);
        for lease in leases() {
            state.deadlines.grant(&lease, now);
        }
        state.wake();
        drop(state);
        self.shared.changed.raise();
    }

    /// Another node's clock counts now.
    pub(crate) fn demote(&self) {
        let mut state = self.shared.state.lock();
        if state.phase == Phase::Leading {
            state.phase = Phase::Following;
            if planted::is(Mistake::WrongClock) {
                return;
            }
            state.deadlines = Deadlines::new(self.shared.checkpoint_interval);
        }
    }

    /// Ends the clock and everyone who waits for it.
    pub(crate) fn close(&self) {
        let mut state = self.shared.state.lock();
        state.phase = Phase::Closed;
        state.wake();
        drop(state);
        self.shared.changed.close();
    }

    fn granted(&self, lease: &LeaseInfo) {
        let mut state = self.shared.state.lock();
        let is_leading = state.phase == Phase::Leading || planted::is(Mistake::WrongClock);
        if is_leading && state.deadlines.grant(lease, R::Instant::now()) {
            self.shared.changed.raise();
        }
    }

    fn ended(&self, leases: &[(i64, Option<u64>)]) {
        let mut state = self.shared.state.lock();
        for (id, grant_index) in leases {
            state.deadlines.end(*id, *grant_index);
        }
        state.wake();
    }

    fn checkpointed(&self, leases: &[CheckpointedLease]) {
        let mut state = self.shared.state.lock();
        for CheckpointedLease { id, grant_index, remaining_s } in leases {
            // What all is left of is known to whoever proposed that: [`Lessor::was_reset`].
            if *remaining_s > 0 {
                state.deadlines.checkpointed(*id, *grant_index);
            }
        }
        state.wake();
    }

    /// The command of [`reset`] was applied.
    pub(crate) fn was_reset(&self, reset: &Reset) {
        let mut state = self.shared.state.lock();
        state.deadlines.was_reset(reset);
        state.wake();
    }

    /// Leases to checkpoint, at most `count_max`. They are not renewed until
    /// [`Lessor::checkpoints_proposed`].
    fn take_checkpoints(&self, count_max: usize) -> Vec<Left> {
        let mut state = self.shared.state.lock();
        match state.phase {
            Phase::Leading => state.deadlines.take_checkpoints(R::Instant::now(), count_max),
            _ => Vec::new(),
        }
    }

    fn checkpoints_proposed(&self, taken: &[Left]) {
        let mut state = self.shared.state.lock();
        state.deadlines.checkpoints_proposed(taken);
        state.wake();
    }

    fn is_closed(&self) -> bool {
        self.shared.state.lock().phase == Phase::Closed
    }

    /// Leases whose time is up, at most `count_max`; they stay so until they end or are given back.
    fn take_due(&self, count_max: usize) -> Vec<Due> {
        let mut state = self.shared.state.lock();
        match state.phase {
            Phase::Leading => state.deadlines.take_due(R::Instant::now(), count_max),
            _ => Vec::new(),
        }
    }

    /// Their expiry was not applied: try again after `delay`.
    fn give_back(&self, due: &[Due], delay: Duration) {
        let retry_at = R::Instant::now() + delay;
        self.shared.state.lock().deadlines.give_back(due, retry_at);
    }

    /// When to look for due leases next.
    fn next_look(&self) -> Option<R::Instant> {
        let state = self.shared.state.lock();
        if state.phase == Phase::Leading { state.deadlines.next() } else { None }
    }
}

impl<R: AsyncRuntime> State<R> {
    /// Cancelled at the next change.
    fn wait(&mut self) -> oneshot::Receiver<()> {
        let (tx, rx) = oneshot::channel();
        self.waiting.retain(|waiting| !waiting.is_canceled());
        self.waiting.push(tx);
        rx
    }

    fn wake(&mut self) {
        // Dropping the senders wakes their receivers.
        self.waiting.clear();
    }
}

impl<R: AsyncRuntime> Clone for Lessor<R> {
    fn clone(&self) -> Self {
        Lessor { shared: self.shared.clone() }
    }
}

#[cfg(test)]
mod tests;
