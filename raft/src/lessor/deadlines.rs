//! Which lease is due when. No clock, no tasks: the time comes in with each call.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::Instant;
use store::LeaseInfo;

/// Leases by deadline; every operation costs O(log n).
///
/// Invariant: a lease is in `queue` exactly once, under its `queued_at`, or is being expired.
pub(super) struct Deadlines<I> {
    leases: BTreeMap<i64, Lease<I>>,
    queue: BTreeSet<(I, i64)>,
}

struct Lease<I> {
    ttl_s: i64,
    grant_index: u64,
    deadline: I,
    /// When to look at it: its deadline, or later if an expiry failed; `None`: its expiry is being
    /// proposed.
    queued_at: Option<I>,
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
    /// Its time is up, and the outcome is not known yet.
    Expiring,
    Unknown,
}

impl<I: Instant> Deadlines<I> {
    pub(super) fn new() -> Deadlines<I> {
        Deadlines { leases: BTreeMap::new(), queue: BTreeSet::new() }
    }

    /// Adds a lease; true if it is now the next to look at.
    pub(super) fn grant(&mut self, lease: &LeaseInfo, now: I) -> bool {
        self.end(lease.id, None);
        let deadline = now + ttl(lease.ttl_s);
        let added = Lease {
            ttl_s: lease.ttl_s,
            grant_index: lease.grant_index,
            deadline,
            queued_at: Some(deadline),
        };
        self.leases.insert(lease.id, added);
        self.queue.insert((deadline, lease.id));
        self.queue.first() == Some(&(deadline, lease.id))
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
        self.leases.remove(&id);
    }

    pub(super) fn renew(&mut self, id: i64, now: I) -> Renewed {
        let Some(lease) = self.leases.get_mut(&id) else { return Renewed::Unknown };
        let Some(queued_at) = lease.queued_at.filter(|_| now < lease.deadline) else {
            return Renewed::Expiring;
        };
        self.queue.remove(&(queued_at, id));
        lease.deadline = now + ttl(lease.ttl_s);
        lease.queued_at = Some(lease.deadline);
        self.queue.insert((lease.deadline, id));
        Renewed::Until(lease.ttl_s)
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
        LeaseInfo { id, ttl_s, grant_index, keys: 0 }
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
        let mut deadlines = Deadlines::new();
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
        let mut deadlines = Deadlines::new();
        deadlines.grant(&lease(1, 5, 7), start);
        assert_eq!(deadlines.renew(1, start + s(5)), Renewed::Expiring);
        let due = deadlines.take_due(start + s(5), 9);
        assert_eq!(deadlines.renew(1, start + s(5)), Renewed::Expiring);
        assert_eq!(deadlines.next(), None);
        deadlines.give_back(&due, start + s(6));
        assert_eq!(deadlines.renew(1, start + s(5)), Renewed::Expiring);
        assert_eq!(ids(&deadlines.take_due(start + s(6), 9)), [1]);
        deadlines.end(1, Some(7));
        assert_eq!(deadlines.renew(1, start), Renewed::Unknown);
    }

    #[test]
    fn a_lease_granted_again_is_another_lease() {
        // Proves that the end of an old grant, or its failed expiry, leaves the new one alone.
        let start = Clock::now();
        let mut deadlines = Deadlines::new();
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
        let mut deadlines = Deadlines::new();
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
}
