//! A lease never ends early, ends at last, and takes its keys with it.

use super::Finding;
use crate::history::{History, Lease, Truth};
use store::EventKind;

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
    let attached = lease.attached?;
    let ended =
        truth.changes.range(attached + 1..).find(|(_, change)| {
            change.batch.events.iter().any(|event| {
                event.kind == EventKind::Delete && event.kv.key == lease.key.as_bytes()
            })
        });
    let last_alive_ns = lease.alive_ns.iter().max()?;
    let ttl_ns = lease.ttl_s * SECOND_NS;
    let Some((revision, change)) = ended else {
        let late = end_ns > last_alive_ns + 2 * ttl_ns + LATE_S * SECOND_NS;
        return late.then(|| format!("{lease:?} still has its key at the end"));
    };
    let soonest_ns = last_alive_ns + ttl_ns - ttl_ns * DRIFT_PERCENT / 100;
    let early = change.expiry && !lease.revoked && change.first_ns < soonest_ns;
    if early {
        let missing_ms = (soonest_ns - change.first_ns) / 1_000_000;
        return Some(format!("{lease:?} ends at r{revision}, {missing_ms} ms early"));
    }
    (!change.expiry && !lease.revoked)
        .then(|| format!("{lease:?} lost its key at r{revision} to nobody who asked for it"))
}
