//! A lease never ends early, ends at last, and takes all of its keys with it at once.

use super::Finding;
use crate::history::{Change, History, Lease, Truth};
use store::{Event, EventKind};

const OF: &str = "leases";

const SECOND_NS: u64 = 1_000_000_000;

/// Clocks go wrong by up to 2 percent here; and a lease means a time by its leader's clock.
const DRIFT_PERCENT: u64 = 3;

/// How long after its time a lease may live, once there are no faults any more: an election, the
/// full time again by a new leader, and a moment.
const LATE_S: u64 = 15;

pub(super) fn check(history: &History, end_ns: u64) -> Vec<Finding> {
    let truth = history.truth.lock();
    let leases = history.leases.lock();
    let mut found: Vec<Finding> =
        leases.iter().filter_map(|lease| wrong(lease, &truth, end_ns)).map(|it| (OF, it)).collect();
    found.truncate(5);
    found
}

fn wrong(lease: &Lease, truth: &Truth, end_ns: u64) -> Option<String> {
    let (_, attached) = lease.keys.first()?;
    let ended = truth.changes.range(attached + 1..).find(|(_, change)| takes_a_key(lease, change));
    let last_alive_ns = lease.alive_ns.iter().max()?;
    let ttl_ns = lease.ttl_s * SECOND_NS;
    let Some((revision, change)) = ended else {
        let late = end_ns > last_alive_ns + 2 * ttl_ns + LATE_S * SECOND_NS;
        return late.then(|| format!("{lease:?} still has its keys at the end"));
    };
    let soonest_ns = last_alive_ns + ttl_ns - ttl_ns * DRIFT_PERCENT / 100;
    let early = change.expiry && !lease.revoked && change.first_ns < soonest_ns;
    if early {
        let missing_ms = (soonest_ns - change.first_ns) / 1_000_000;
        return Some(format!("{lease:?} ends at r{revision}, {missing_ms} ms early"));
    }
    if !change.expiry && !lease.revoked {
        return Some(format!("{lease:?} lost a key at r{revision} to nobody who asked for it"));
    }
    let left = lease.keys.iter().find(|(key, _)| !deletes(change, key));
    left.map(|(key, _)| format!("{lease:?} ended at r{revision}, and {key} did not go with it"))
}

fn takes_a_key(lease: &Lease, change: &Change) -> bool {
    lease.keys.iter().any(|(key, _)| deletes(change, key))
}

fn deletes(change: &Change, key: &str) -> bool {
    let is_deletion =
        |event: &Event| event.kind == EventKind::Delete && event.kv.key == key.as_bytes();
    change.batch.events.iter().any(is_deletion)
}
