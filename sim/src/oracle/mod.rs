//! Who judges, one file for one promise.
//!
//! An oracle sees the history and nothing of how berth works inside; it names what it saw and what
//! should have been.

mod leases;
mod linearizable;
mod membership;
mod model;
mod pointers;
mod states;
#[cfg(test)]
mod tests;
mod watches;

use crate::cluster::Cluster;
use crate::world::World;

/// Looks at the members from time to time while they run.
pub(crate) struct Lookout {
    membership: membership::Membership,
    pointers: pointers::Pointers,
}

impl Lookout {
    pub(crate) fn new() -> Lookout {
        Lookout {
            membership: membership::Membership::default(),
            pointers: pointers::Pointers::default(),
        }
    }

    pub(crate) fn look(&mut self, cluster: &Cluster) {
        for id in cluster.running() {
            let Some(node) = cluster.node(id) else { continue };
            let status = node.status();
            self.membership.look(&cluster.world, id, &status);
            self.pointers.look(&cluster.world, id, cluster.starts(id), &status);
        }
        states::compare(cluster);
    }
}

/// Judges a whole run, once all is over.
pub(crate) fn judge(world: &World, end_ns: u64) {
    for (of, what) in findings(&world.history, end_ns) {
        world.violation(of, what);
    }
    for what in world.history.truth.lock().disagreements.drain(..) {
        world.violation("equal states", what);
    }
}

/// What is wrong with what clients were told.
pub(crate) fn findings(history: &crate::history::History, end_ns: u64) -> Vec<Finding> {
    let found = [
        linearizable::check(history),
        watches::check(history),
        leases::check(history, end_ns),
        membership::check(history),
    ];
    found.into_iter().flatten().collect()
}

/// The oracle, and what it saw.
pub(crate) type Finding = (&'static str, String);

/// A watch that has not heard of everything, in words; `None`: all have.
pub(crate) fn unserved(history: &crate::history::History) -> Option<String> {
    watches::unserved(history)
}
