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
            self.pointers.look(&cluster.world, id, &status);
        }
        states::compare(cluster);
    }
}

/// Judges a whole run, once all is over.
pub(crate) fn judge(world: &World, end_ns: u64) {
    let found = [
        linearizable::check(&world.history),
        watches::check(&world.history),
        leases::check(&world.history, end_ns),
    ];
    for (of, what) in found.into_iter().flatten() {
        world.violation(of, what);
    }
    for what in world.history.truth.lock().disagreements.drain(..) {
        world.violation("equal states", what);
    }
}

/// The oracle, and what it saw.
type Finding = (&'static str, String);

/// A watch that has not heard of everything, in words; `None`: all have.
pub(crate) fn unserved(history: &crate::history::History) -> Option<String> {
    watches::unserved(history)
}
