//! Which lease is due when, and which should be checkpointed. No clock, no tasks: the time comes in
//! with each call.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::Instant;
use store::LeaseInfo;

/// Leases by deadline; every operation costs O(log n).
///
/// Invariant: a lease is in `queue` exactly once, under its `queued_at`, or is being expired; it is
/// in `checkpoints` once, under its `checkpoint_at`, if that is set.
pub(super) struct Deadlines<I> {
    leases: BTreeMap<i64, Lease<I>>,
    queue: BTreeSet<(I, i64)>,
    checkpoints: BTreeSet<(I, i64)>,
    /// How long a lease goes without a checkpoint; `None`: there are none.
    interval: Option<Duration>,
}

struct Lease<I> {
    ttl_s: i64,
    grant_index: u64,
    deadline: I,
    /// When to look at it: its deadline, or later if an expiry failed; `None`: its expiry is being
    /// proposed.
    queued_at: Option<I>,
    checkpoint: Checkpoint,
    /// How many checkpoints were proposed: only a reset that was proposed after the last of them
    /// comes after it in the log.
    proposed: u64,
    /// When to write down how much is left.
    checkpoint_at: Option<I>,
}

/// What the log says, or may say yet, of the time left. A later leader begins with that, so nobody
/// may be told that a lease has its full time again before the log says so too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checkpoint {
    /// All of it.
    Full,
    /// Something less is being proposed.
    Proposed,
    /// Something less.
    Less,
}

/// How much of a lease is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) id: i64,
    pub(super) grant_index: u64,
    /// Whole seconds, rounded up.
    pub(super) remaining_s: i64,
}

/// What gives a lease its full time again in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reset {
    pub(crate) id: i64,
    pub(crate) grant_index: u64,
    /// The checkpoints that come before it.
    proposed: u64,
}

/// A lease whose time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) id: i64,
    pub(super) grant_index: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Renewed {
    /// It has its full time again: so many seconds.
    Until(i64),
    /// Its time is up, or a checkpoint is being proposed, and the outcome is not known yet.
    Undecided,
    /// The log has to say first that it has its full time again, and that has to be told to
    /// [`Deadlines::was_reset`].
    Checkpointed(Reset),
    Unknown,
}

impl<I: Instant> Deadlines<I> {
    pub(super) fn new(interval: Option<Duration>) -> Deadlines<I> {
        let (leases, queue, checkpoints) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Deadlines { leases, queue, checkpoints, interval }
    }

    /// Adds a lease with what is left of it; true if it is now the next to look at.
    pub(super) fn grant(&mut self, lease: &LeaseInfo, now: I) -> bool {
        self.end(lease.id, None);
        let (left_s, checkpoint) = match lease.remaining_s {
            0 => (lease.ttl_s, Checkpoint::Full),
            left => (left, Checkpoint::Less),
        };
        let deadline = now + ttl(left_s);
        let added = Lease {
            ttl_s: lease.ttl_s,
            grant_index: lease.grant_index,
            deadline,
            queued_at: Some(deadline),
            checkpoint,
            proposed: 0,
            checkpoint_at: None,
        };
        self.leases.insert(lease.id, added);
        self.queue.insert((deadline, lease.id));
        self.plan_checkpoint(lease.id, now);
        self.queue.first() == Some(&(deadline, lease.id))
    }

    /// Puts a lease into the queue of checkpoints, if it lives long enough.
    fn plan_checkpoint(&mut self, id: i64, now: I) {
        let lease = self.leases.get_mut(&id).expect("the caller has it");
        if let Some(before) = lease.checkpoint_at.take() {
            self.checkpoints.remove(&(before, id));
        }
        let Some(interval) = self.interval else { return };
        if lease.deadline.saturating_duration_since(now) > interval {
            lease.checkpoint_at = Some(now + interval);
            self.checkpoints.insert((now + interval, id));
        }
    }

    /// Removes a lease; with a grant index, only if it is that grant.
    pub(super) fn end(&mut self, id: i64, grant_index: Option<u64>) {
        let Some(lease) = self.leases.get(&id) else { return };
        if grant_index.is_some_and(|index| index != lease.grant_index) {
            return;
        }
        if let Some(queued_at) = lease.queued_at {
            self.queue.remove(&(queued_at, id));
        }
        if let Some(checkpoint_at) = lease.checkpoint_at {
            self.checkpoints.remove(&(checkpoint_at, id));
        }
        self.leases.remove(&id);
    }

    pub(super) fn contains(&self, id: i64) -> bool {
        self.leases.contains_key(&id)
    }

    pub(super) fn renew(&mut self, id: i64, now: I) -> Renewed {
        let Some(lease) = self.leases.get_mut(&id) else { return Renewed::Unknown };
        let Some(queued_at) = lease.queued_at.filter(|_| now < lease.deadline) else {
            return Renewed::Undecided;
        };
        match lease.checkpoint {
            Checkpoint::Full => {}
            Checkpoint::Proposed => return Renewed::Undecided,
            Checkpoint::Less => {
                let Lease { grant_index, proposed, .. } = *lease;
                return Renewed::Checkpointed(Reset { id, grant_index, proposed });
            }
        }
        let ttl_s = lease.ttl_s;
        self.queue.remove(&(queued_at, id));
        lease.deadline = now + ttl(ttl_s);
        lease.queued_at = Some(lease.deadline);
        self.queue.insert((lease.deadline, id));
        self.plan_checkpoint(id, now);
        Renewed::Until(ttl_s)
    }

    /// The log says that less is left of a lease than its full time.
    pub(super) fn checkpointed(&mut self, id: i64, grant_index: u64) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        if lease.grant_index == grant_index {
            lease.checkpoint = Checkpoint::Less;
        }
    }

    /// The reset was applied. It says nothing of a checkpoint that was proposed after it.
    pub(super) fn was_reset(&mut self, reset: &Reset) {
        let Some(lease) = self.leases.get_mut(&reset.id) else { return };
        if (lease.grant_index, lease.proposed) == (reset.grant_index, reset.proposed) {
            lease.checkpoint = Checkpoint::Full;
        }
    }

    /// Takes leases that should be checkpointed, at most `count_max`. Each comes again after the
    /// interval.
    pub(super) fn take_checkpoints(&mut self, now: I, count_max: usize) -> Vec<Left> {
        let mut taken = Vec::new();
        while taken.len() < count_max
            && let Some((at, id)) = self.checkpoints.first().copied()
            && at <= now
        {
            self.plan_checkpoint(id, now);
            let lease = self.leases.get_mut(&id).expect("whatever is queued is a lease");
            let left = lease.deadline.saturating_duration_since(now);
            let Ok(remaining_s) = i64::try_from(left.as_secs() + 1) else { continue };
            // One that is about to end, or is as good as new, needs none.
            if lease.queued_at.is_some() && !left.is_zero() && remaining_s < lease.ttl_s {
                lease.checkpoint = Checkpoint::Proposed;
                lease.proposed += 1;
                taken.push(Left { id, grant_index: lease.grant_index, remaining_s });
            }
        }
        taken
    }

    /// The outcome of these is known, or never will be: the log may say less than the full time.
    pub(super) fn checkpoints_proposed(&mut self, taken: &[Left]) {
        for Left { id, grant_index, .. } in taken {
            let Some(lease) = self.leases.get_mut(id) else { continue };
            if lease.grant_index == *grant_index && lease.checkpoint == Checkpoint::Proposed {
                lease.checkpoint = Checkpoint::Less;
            }
        }
    }

    pub(super) fn remaining(&self, id: i64, now: I) -> Option<Duration> {
        let lease = self.leases.get(&id)?;
        Some(lease.deadline.saturating_duration_since(now))
    }

    /// Takes due leases out of the queue, at most `count_max`, the longest due first.
    pub(super) fn take_due(&mut self, now: I, count_max: usize) -> Vec<Due> {
        let mut due = Vec::new();
        while due.len() < count_max
            && let Some((queued_at, id)) = self.queue.first().copied()
            && queued_at <= now
        {
            self.queue.pop_first();
            let lease = self.leases.get_mut(&id).expect("whatever is queued is a lease");
            assert!(lease.deadline <= now, "a lease never expires early");
            lease.queued_at = None;
            due.push(Due { id, grant_index: lease.grant_index });
        }
        due
    }

    /// Puts those that are still there back into the queue.
    pub(super) fn give_back(&mut self, due: &[Due], retry_at: I) {
        for Due { id, grant_index } in due {
            let Some(lease) = self.leases.get_mut(id) else { continue };
            if lease.grant_index == *grant_index && lease.queued_at.is_none() {
                lease.queued_at = Some(retry_at);
                self.queue.insert((retry_at, *id));
            }
        }
    }

    pub(super) fn next(&self) -> Option<I> {
        self.queue.first().map(|(at, _)| *at)
    }
}

fn ttl(ttl_s: i64) -> Duration {
    Duration::from_secs(ttl_s.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant as Clock;

    fn lease(id: i64, ttl_s: i64, grant_index: u64) -> LeaseInfo {
        LeaseInfo { id, ttl_s, grant_index, remaining_s: 0, keys: 0 }
    }

    fn ids(due: &[Due]) -> Vec<i64> {
        due.iter().map(|due| due.id).collect()
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn leases_are_due_at_their_deadline_and_not_before() {
        // Proves order, renewal, and that a nanosecond before its time a lease is alive.
        let start = Clock::now();
        let mut deadlines = Deadlines::new(None);
        assert!(deadlines.grant(&lease(1, 10, 100), start));
        assert!(deadlines.grant(&lease(2, 5, 101), start));
        assert!(!deadlines.grant(&lease(3, 20, 102), start));
        assert_eq!(deadlines.next(), Some(start + s(5)));
        let almost = start + s(5) - Duration::from_nanos(1);
        assert_eq!(ids(&deadlines.take_due(almost, 9)), []);

        assert_eq!(deadlines.renew(2, almost), Renewed::Until(5));
        assert_eq!(ids(&deadlines.take_due(start + s(10), 9)), [2, 1], "2 was due a moment sooner");
        assert_eq!(deadlines.remaining(3, start + s(13)), Some(s(7)));
        assert_eq!(deadlines.remaining(3, start + s(99)), Some(s(0)));
    }

    #[test]
    fn a_lease_whose_time_is_up_is_not_renewed() {
        // Proves that a keep-alive that comes too late waits, whether or not the expiry is under way.
        let start = Clock::now();
        let mut deadlines = Deadlines::new(None);
        deadlines.grant(&lease(1, 5, 7), start);
        assert_eq!(deadlines.renew(1, start + s(5)), Renewed::Undecided);
        let due = deadlines.take_due(start + s(5), 9);
        assert_eq!(deadlines.renew(1, start + s(5)), Renewed::Undecided);
        assert_eq!(deadlines.next(), None);
        deadlines.give_back(&due, start + s(6));
        assert_eq!(deadlines.renew(1, start + s(5)), Renewed::Undecided);
        assert_eq!(ids(&deadlines.take_due(start + s(6), 9)), [1]);
        deadlines.end(1, Some(7));
        assert_eq!(deadlines.renew(1, start), Renewed::Unknown);
    }

    #[test]
    fn a_lease_granted_again_is_another_lease() {
        // Proves that the end of an old grant, or its failed expiry, leaves the new one alone.
        let start = Clock::now();
        let mut deadlines = Deadlines::new(None);
        deadlines.grant(&lease(1, 5, 7), start);
        let due = deadlines.take_due(start + s(5), 9);
        deadlines.grant(&lease(1, 50, 8), start + s(5));
        deadlines.end(1, Some(7));
        deadlines.give_back(&due, start + s(6));
        assert_eq!(deadlines.next(), Some(start + s(55)));
        assert_eq!(deadlines.remaining(1, start + s(5)), Some(s(50)));
        deadlines.end(1, None);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn many_leases_are_taken_in_bounded_bites() {
        // Proves the bound per bite, and that 200,000 leases due at once all come.
        let start = Clock::now();
        let mut deadlines = Deadlines::new(None);
        for id in 0..200_000 {
            deadlines.grant(&lease(id, 5, 7), start);
        }
        let mut taken = 0;
        while let due = deadlines.take_due(start + s(5), 1000)
            && !due.is_empty()
        {
            assert!(due.len() <= 1000);
            taken += due.len();
        }
        assert_eq!(taken, 200_000);
    }

    #[test]
    fn a_long_lease_is_checkpointed_and_a_short_one_is_not() {
        // Proves when checkpoints are due, that what they say is never less than what is left, and
        // that whoever goes on from there ends the lease at its time.
        let start = Clock::now();
        let mut deadlines = Deadlines::new(Some(s(60)));
        deadlines.grant(&lease(1, 60, 7), start);
        deadlines.grant(&lease(2, 600, 8), start);
        assert_eq!(deadlines.take_checkpoints(start + s(59), 9), []);
        let later = start + s(60) + Duration::from_millis(1);
        let taken = deadlines.take_checkpoints(later, 9);
        assert_eq!(taken, [Left { id: 2, grant_index: 8, remaining_s: 540 }]);
        assert_eq!(deadlines.take_checkpoints(later + s(59), 9), []);

        let mut next = Deadlines::new(Some(s(60)));
        next.grant(&LeaseInfo { remaining_s: 540, ..lease(2, 600, 8) }, later);
        assert_eq!(next.next(), Some(later + s(540)));
        assert!(later + s(540) >= start + s(600), "it would end early");
    }

    #[test]
    fn a_checkpointed_lease_is_renewed_in_the_log_first() {
        // Proves that no keep-alive is answered while the log says, or may yet say, that less is
        // left: a leader elected then would end the lease early.
        let start = Clock::now();
        let mut deadlines = Deadlines::new(Some(s(60)));
        deadlines.grant(&lease(1, 600, 7), start);
        let now = start + s(100);
        let taken = deadlines.take_checkpoints(now, 9);
        assert_eq!(deadlines.renew(1, now), Renewed::Undecided);
        // It failed, and may be applied all the same.
        deadlines.checkpoints_proposed(&taken);
        let Renewed::Checkpointed(reset) = deadlines.renew(1, now) else { panic!("renewed") };
        deadlines.checkpointed(1, 7);
        assert_eq!(deadlines.renew(1, now), Renewed::Checkpointed(reset));
        deadlines.was_reset(&Reset { grant_index: 6, ..reset });
        assert_eq!(deadlines.renew(1, now), Renewed::Checkpointed(reset));
        deadlines.was_reset(&reset);
        assert_eq!(deadlines.renew(1, now), Renewed::Until(600));
        assert_eq!(deadlines.next(), Some(now + s(600)));
        assert_eq!(deadlines.take_checkpoints(now + s(59), 9), []);

        // The log says that all is left, and then, which is not applied yet, that less is.
        let taken = deadlines.take_checkpoints(now + s(60), 9);
        assert_eq!(taken.len(), 1);
        deadlines.was_reset(&reset);
        assert_eq!(deadlines.renew(1, now + s(60)), Renewed::Undecided);
    }

    #[test]
    fn an_older_reset_does_not_vouch_for_a_checkpoint_that_comes_after_it() {
        // Proves that a keep-alive is not answered between a reset and a checkpoint behind it in the
        // log, whose outcome nobody knows: a leader elected after that would end the lease early.
        let start = Clock::now();
        let mut deadlines = Deadlines::new(Some(s(60)));
        deadlines.grant(&LeaseInfo { remaining_s: 500, ..lease(1, 600, 7) }, start);
        let Renewed::Checkpointed(reset) = deadlines.renew(1, start) else { panic!("renewed") };
        // The reset is in the log and not applied; then the next checkpoint, which times out.
        let now = start + s(60);
        let taken = deadlines.take_checkpoints(now, 9);
        assert_eq!(taken.len(), 1);
        deadlines.checkpoints_proposed(&taken);
        deadlines.was_reset(&reset);
        assert!(matches!(deadlines.renew(1, now), Renewed::Checkpointed(newer) if newer != reset));
    }
}
