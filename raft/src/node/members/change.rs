//! The leader's part of a change of members.

use std::collections::BTreeSet;
use std::time::Duration;

use api::berthpb::MembersAnswer;
use api::berthpb::members_answer::Refused;
use api::berthpb::members_question::Change;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::Precondition;
use openraft::{AsyncRuntime, ChangeMembers};

use super::others::is_majority;
use super::rules::Situation;
use super::{Node, terms};
use crate::codec;
use crate::error::Error;
use crate::leaders::Leader;
use crate::types::{Membership, Peer, StoredMembership};

/// How long after a change that is under way another is tried.
const PAUSE: Duration = Duration::from_millis(50);

/// What came of one attempt.
pub(super) enum Attempt {
    Made,
    Refused(Refused),
    /// Nothing was written: another change is under way.
    NotYet,
    /// Something came in between, and a part may be made.
    Unclear,
    /// This member leads no longer, and nobody knows.
    Interrupted,
}

impl<R: AsyncRuntime> Node<R> {
    /// Makes `change` if the rules allow it, after all changes that came before it.
    ///
    /// # Errors
    /// [`Error::Stopped`], [`Error::Fatal`]. Whatever else happens is an answer.
    pub(crate) async fn change_members_here(
        &self,
        change: &Change,
    ) -> Result<MembersAnswer, Error> {
        let refused =
            match R::timeout(self.inner.request_timeout, self.change_in_turn(change)).await {
                Ok(refused) => refused?,
                Err(_) => Refused::Interrupted,
            };
        Ok(MembersAnswer { refused: refused.into(), members: self.members() })
    }

    /// `Unspecified`: it is made.
    async fn change_in_turn(&self, change: &Change) -> Result<Refused, Error> {
        let _turn = self.inner.changing.lock().await;
        let mut unclear = false;
        loop {
            // What was changed before, by whichever leader, has to be seen.
            let Some(log_id) = self.inner.read_index.log_id_here().await? else {
                return Ok(Refused::Interrupted);
            };
            self.inner.read_index.applied(&log_id).await?;
            match self.attempt(change).await? {
                Attempt::Made => return Ok(Refused::Unspecified),
                Attempt::Refused(refused) if unclear && super::done_already(change, refused) => {
                    return Ok(Refused::Unspecified);
                }
                Attempt::Refused(refused) => return Ok(refused),
                Attempt::Interrupted => return Ok(Refused::Interrupted),
                Attempt::NotYet => {}
                Attempt::Unclear => unclear = true,
            }
            R::sleep(PAUSE).await;
        }
    }

    async fn attempt(&self, change: &Change) -> Result<Attempt, Error> {
        let Some(seen) = self.settled() else { return Ok(Attempt::NotYet) };
        let membership = seen.membership();
        if let Some(rest) = terms::unfinished(membership) {
            return Ok(match self.write_change(&seen, rest).await? {
                Attempt::Interrupted => Attempt::Interrupted,
                _ => Attempt::NotYet,
            });
        }
        let present = self.present(change, membership).await;
        if let Err(refused) = self.judge(change, membership, &present) {
            return Ok(Attempt::Refused(refused));
        }
        if terms::removes(change, self.member_id()) && self.has_handed_over().await {
            return Ok(Attempt::Interrupted);
        }
        match terms::of_change(change, membership) {
            Some(members) => self.write_change(&seen, members).await,
            None => Ok(Attempt::Refused(Refused::NotFound)),
        }
    }

    fn judge(
        &self,
        change: &Change,
        membership: &Membership,
        present: &BTreeSet<u64>,
    ) -> Result<(), Refused> {
        let rules = &self.inner.rules;
        let situation = Situation {
            members: &self.members(),
            is_active: &|id| present.contains(&id),
            has_caught_up: &|id| self.has_caught_up(id),
            was_removed: &|id| self.inner.roster.is_removed(id),
        };
        rules.judge(change, &situation)?;
        match terms::voters_after(change, membership) {
            Some(voters) if rules.strict && !is_majority(present, &voters) => {
                Err(Refused::Unhealthy)
            }
            _ => Ok(()),
        }
    }

    /// Whether another leads now, who may remove this member. Else it does that itself.
    async fn has_handed_over(&self) -> bool {
        self.hand_over().await.is_ok() && self.inner.leaders.current() != Leader::Here
    }

    /// The membership that is applied, as long as the log has no newer one.
    pub(super) fn settled(&self) -> Option<StoredMembership> {
        let applied =
            codec::decode_stored_membership(self.reader().membership().as_deref()).ok()?;
        let metrics = self.inner.raft.metrics();
        let newest = *metrics.borrow_watched().membership_config.log_id();
        (newest <= *applied.log_id()).then_some(applied)
    }

    /// Writes a change of the membership `seen`, and of no other.
    pub(super) async fn write_change(
        &self,
        seen: &StoredMembership,
        members: ChangeMembers<u64, Peer>,
    ) -> Result<Attempt, Error> {
        use ChangeMembershipError as Refused;
        let as_seen = Precondition::LastMembershipLogId { last_membership_log_id: *seen.log_id() };
        let error = match self.inner.raft.change_membership_if(members, false, [as_seen]).await {
            Ok(_) => return Ok(Attempt::Made),
            Err(RaftError::Fatal(fatal)) => return Err(Error::of_fatal(&fatal)),
            Err(RaftError::APIError(error)) => error,
        };
        Ok(match error {
            ClientWriteError::PreconditionFailed(_)
            | ClientWriteError::ChangeMembershipError(
                Refused::InProgress(_) | Refused::UncommittedLeaderLog(_),
            ) => Attempt::Unclear,
            error => {
                tracing::warn!(%error, "a change of members was not made");
                Attempt::Interrupted
            }
        })
    }
}
