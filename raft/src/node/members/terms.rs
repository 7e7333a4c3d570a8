//! Changes of members in Raft's terms.

use std::collections::{BTreeMap, BTreeSet};

use api::berthpb::members_question::Change;
use openraft::ChangeMembers;

use crate::types::{Membership, Peer};

/// What makes `change`. `None`: there is no such member.
pub(super) fn of_change(
    change: &Change,
    membership: &Membership,
) -> Option<ChangeMembers<u64, Peer>> {
    Some(match change {
        Change::Add(add) => {
            let peer = Peer {
                name: String::new(),
                peer_urls: add.peer_urls.clone(),
                wants_vote: !add.is_learner,
            };
            ChangeMembers::AddNodes(BTreeMap::from([(add.id, peer)]))
        }
        Change::Promote(promote) => promotion(promote.id, membership.get_node(&promote.id)?),
        Change::Update(update) => {
            let mut peer = membership.get_node(&update.id)?.clone();
            peer.peer_urls.clone_from(&update.peer_urls);
            ChangeMembers::SetNodes(BTreeMap::from([(update.id, peer)]))
        }
        Change::Remove(remove) if is_voter(membership, remove.id) => {
            ChangeMembers::RemoveVoters(BTreeSet::from([remove.id]))
        }
        Change::Remove(remove) => ChangeMembers::RemoveNodes(BTreeSet::from([remove.id])),
    })
}

/// A learner becomes a voter that wants nothing more.
pub(super) fn promotion(id: u64, peer: &Peer) -> ChangeMembers<u64, Peer> {
    let peer = Peer { wants_vote: false, ..peer.clone() };
    ChangeMembers::Batch(vec![
        ChangeMembers::SetNodes(BTreeMap::from([(id, peer)])),
        ChangeMembers::AddVoterIds(BTreeSet::from([id])),
    ])
}

/// What is left to do of a change that was given up half done.
pub(super) fn unfinished(membership: &Membership) -> Option<ChangeMembers<u64, Peer>> {
    match membership.get_joint_config().as_slice() {
        [_, last] => Some(ChangeMembers::ReplaceAllVoters(last.clone())),
        _ => None,
    }
}

/// Whose votes are needed after `change`. `None`: those that were needed before.
pub(super) fn voters_after(change: &Change, membership: &Membership) -> Option<BTreeSet<u64>> {
    let mut voters: BTreeSet<u64> = membership.voter_ids().collect();
    let others = match change {
        Change::Add(_) | Change::Update(_) => false,
        Change::Promote(promote) => voters.insert(promote.id),
        Change::Remove(remove) => voters.remove(&remove.id),
    };
    others.then_some(voters)
}

pub(super) fn removes(change: &Change, id: u64) -> bool {
    matches!(change, Change::Remove(remove) if remove.id == id)
}

pub(super) fn is_voter(membership: &Membership, id: u64) -> bool {
    membership.voter_ids().any(|voter| voter == id)
}
