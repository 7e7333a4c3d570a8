//! What a leader changes unasked: learners that want a vote get it when they have caught up, and a
//! change that an earlier leader left half done is finished.

use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::{AsyncRuntime, ChangeMembers};

use super::Node;
use super::change::{CLOSE_ENTRIES, promotion};
use crate::leaders::Leader;
use crate::types::{Membership, Peer};

/// How often a leader looks.
const LOOK: Duration = Duration::from_millis(200);

impl<R: AsyncRuntime> Node<R> {
    /// Ends with the node.
    pub(crate) async fn promote_learners(self) {
        while !self.inner.stopping.load(Ordering::Acquire) {
            if self.inner.leaders.current() == Leader::Here
                && let Some(members) = self.due_change(&self.membership())
            {
                let _turn = self.inner.changing.lock().await;
                if self.change_membership(members).await.is_err() {
                    return;
                }
            }
            R::sleep(LOOK).await;
        }
    }

    fn due_change(&self, membership: &Membership) -> Option<ChangeMembers<u64, Peer>> {
        if let [_, last] = membership.get_joint_config().as_slice() {
            return Some(ChangeMembers::ReplaceAllVoters(last.clone()));
        }
        let is_voter = |id: u64| membership.voter_ids().any(|voter| voter == id);
        let wants = |peer: &Peer| peer.wants_vote || self.inner.auto_promote;
        let mut ready = membership
            .nodes()
            .filter(|(id, peer)| !is_voter(**id) && wants(peer) && self.is_close(**id));
        ready.next().map(|(id, peer)| promotion(*id, peer))
    }

    fn is_close(&self, id: u64) -> bool {
        self.progress(id).is_some_and(|(own, matched)| matched + CLOSE_ENTRIES >= own)
    }
}
