//! Of one term there is one leader, who has all that was committed in terms before; and of two
//! memberships, one after the other, no majority can decide without a member of any of the other's.

use std::collections::{BTreeMap, BTreeSet};

use raft::Status;

use super::Finding;
use crate::history::History;
use crate::world::World;

const OF: &str = "membership";

#[derive(Default)]
pub(super) struct Membership {
    leaders: BTreeMap<u64, u64>,
    /// The last entry that a member knew to be committed, by the member's term.
    committed: BTreeMap<u64, u64>,
}

impl Membership {
    pub(super) fn look(&mut self, world: &World, id: u64, status: &Status) {
        let committed = self.committed.entry(status.term).or_default();
        *committed = status.committed_index.max(*committed);
        if status.leader != Some(id) {
            return;
        }
        let (term, last) = (status.term, status.last_index);
        let first = *self.leaders.entry(term).or_insert_with(|| {
            world.log.line(format_args!("m{id} leads term {term}"));
            world.count("terms with a leader");
            id
        });
        if first != id {
            world.violation(OF, format!("{first} and {id} both lead term {term}"));
        }
        let before = self.committed.range(..term).map(|(_, index)| *index).max().unwrap_or(0);
        if last < before {
            let what = format!(
                "{id} leads term {term} with entries up to {last}, and {before} were committed before"
            );
            world.violation(OF, what);
        }
    }
}

/// What is wrong with the memberships, as the members applied them.
pub(super) fn check(history: &History) -> Vec<Finding> {
    let truth = history.truth.lock();
    let steps = truth.memberships.iter().zip(truth.memberships.iter().skip(1));
    let apart = steps.filter_map(|((at, before), (_, after))| {
        let deciders = apart(before, after)?;
        let what = format!(
            "{deciders:?} could decide without those of {after:?}, which came after {before:?} at {at}"
        );
        Some((OF, what))
    });
    apart.collect()
}

/// Members that decide by the one membership while all others decide by the other.
fn apart(one: &[BTreeSet<u64>], other: &[BTreeSet<u64>]) -> Option<BTreeSet<u64>> {
    let ids: Vec<u64> =
        one.iter().chain(other).flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
    (0..1_u32 << ids.len()).find_map(|choice| {
        let (here, there): (Vec<_>, Vec<_>) =
            ids.iter().enumerate().partition(|(place, _)| choice >> place & 1 == 1);
        let members = |of: Vec<(usize, &u64)>| of.into_iter().map(|(_, id)| *id).collect();
        let (here, there): (BTreeSet<u64>, BTreeSet<u64>) = (members(here), members(there));
        (decide(&here, one) && decide(&there, other)).then_some(here)
    })
}

/// Whether these are a majority of each set.
fn decide(ids: &BTreeSet<u64>, membership: &[BTreeSet<u64>]) -> bool {
    membership.iter().all(|voters| voters.intersection(ids).count() * 2 > voters.len())
}
