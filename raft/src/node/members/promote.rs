//! What a leader changes unasked: learners that want a vote get it when they have caught up, and a
//! change that an earlier leader left half done is finished.

use std::sync::atomic::Ordering;
use std::time::Duration;

use api::berthpb::PromoteMember;
use api::berthpb::members_question::Change;
use openraft::AsyncRuntime;

use super::others::is_majority;
use super::{Node, terms};
use crate::error::Error;
use crate::leaders::Leader;
use crate::types::{Membership, Peer};

/// How often a leader looks.
const LOOK: Duration = Duration::from_millis(200);

impl<R: AsyncRuntime> Node<R> {
    /// Ends with the node.
    pub(crate) async fn promote_learners(self) {
        while !self.inner.stopping.load(Ordering::Acquire) {
            let leads = self.inner.leaders.current() == Leader::Here;
            if leads && self.is_change_due(&self.membership()) {
                // What takes longer is looked at again: meanwhile others get their turn.
                let made = R::timeout(self.inner.request_timeout, self.make_due_change()).await;
                if let Ok(Err(_)) = made {
                    return;
                }
            }
            R::sleep(LOOK).await;
        }
    }

    fn is_change_due(&self, membership: &Membership) -> bool {
        terms::unfinished(membership).is_some() || self.ready_learner(membership).is_some()
    }

    async fn make_due_change(&self) -> Result<(), Error> {
        let _turn = self.inner.changing.lock().await;
        // What was due before this turn may be done by now, or of a member that is gone.
        let Some(seen) = self.settled() else { return Ok(()) };
        let membership = seen.membership();
        let members = match (terms::unfinished(membership), self.ready_learner(membership)) {
            (Some(rest), _) => rest,
            (None, Some((id, peer))) if self.may_vote(id, membership).await => {
                terms::promotion(id, peer)
            }
            (None, _) => return Ok(()),
        };
        self.write_change(&seen, members).await.map(drop)
    }

    fn ready_learner<'a>(&self, membership: &'a Membership) -> Option<(u64, &'a Peer)> {
        let wants = |peer: &Peer| peer.wants_vote || self.inner.auto_promote;
        let mut ready = membership.nodes().filter(|(id, peer)| {
            !terms::is_voter(membership, **id) && wants(peer) && self.is_close(**id)
        });
        ready.next().map(|(id, peer)| (*id, peer))
    }

    /// Whether member `id` is still there, and enough of the others: its vote may be needed to
    /// commit that it has one.
    async fn may_vote(&self, id: u64, membership: &Membership) -> bool {
        let change = Change::Promote(PromoteMember { id });
        let present = self.present(&change, membership).await;
        let voters = terms::voters_after(&change, membership);
        present.contains(&id) && voters.is_none_or(|voters| is_majority(&present, &voters))
    }
}
