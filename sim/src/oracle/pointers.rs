//! What a member has purged it has in a snapshot, and what is in a snapshot it has applied. No
//! snapshot is ever taken back, whatever becomes of its process, and no purge as long as it lives:
//! the log's mark of one need not survive a power cut, for what comes back was not needed.

use std::collections::BTreeMap;

use raft::Status;

use crate::world::World;

const OF: &str = "pointers";

#[derive(Default)]
pub(super) struct Pointers {
    /// By member and process.
    purged: BTreeMap<(u64, u64), u64>,
    /// By member.
    snapshots: BTreeMap<u64, u64>,
}

impl Pointers {
    pub(super) fn look(&mut self, world: &World, id: u64, life: u64, status: &Status) {
        let Status { purged_index, snapshot_index, applied_index, .. } = *status;
        if purged_index > snapshot_index || snapshot_index > applied_index {
            world.violation(OF, format!("member {id}: {status:?}"));
        }
        let before = self.purged.entry((id, life)).or_default();
        if purged_index < *before {
            world.violation(OF, format!("member {id} had purged {before}: {status:?}"));
        }
        if purged_index > *before {
            world.count("logs purged");
        }
        *before = purged_index.max(*before);
        let newest = self.snapshots.entry(id).or_default();
        // 0: a process that has just begun has not looked yet.
        if snapshot_index != 0 && snapshot_index < *newest {
            world.violation(OF, format!("member {id} had a snapshot of {newest}: {status:?}"));
        }
        if snapshot_index > *newest {
            world.count("snapshots");
        }
        *newest = snapshot_index.max(*newest);
    }
}
