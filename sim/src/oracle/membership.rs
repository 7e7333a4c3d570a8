//! Of one term there is one leader.

use std::collections::BTreeMap;

use raft::Status;

use crate::world::World;

#[derive(Default)]
pub(super) struct Membership {
    leaders: BTreeMap<u64, u64>,
}

impl Membership {
    pub(super) fn look(&mut self, world: &World, id: u64, status: &Status) {
        if status.leader != Some(id) {
            return;
        }
        let first = *self.leaders.entry(status.term).or_insert_with(|| {
            world.log.line(format_args!("m{id} leads term {}", status.term));
            world.count("terms with a leader");
            id
        });
        if first != id {
            let term = status.term;
            world.violation("one leader", format!("{first} and {id} both lead term {term}"));
        }
    }
}
