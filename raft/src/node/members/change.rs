//! The leader's part of a change of members.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::berthpb::members_answer::Refused;
use api::berthpb::members_question::Change;
use api::berthpb::peer_request::Question;
use api::berthpb::{IdentityQuestion, MembersAnswer};
use futures::future::join_all;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{AsyncRuntime, ChangeMembers, Instant};

use super::Node;
use super::rules::Situation;
use crate::error::Error;
use crate::types::Peer;

/// A learner whose log is within this share of the leader's has caught up, as in etcd.
const CAUGHT_UP_PERCENT: u64 = 90;

/// And within so many entries, before it is promoted unasked.
pub(super) const CLOSE_ENTRIES: u64 = 1000;

/// How long after a change that is under way another is tried.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a member may take to say that it is there.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// What came of one attempt.
enum Attempt {
    Made,
    /// Another change is under way, or this leader has just begun.
    TryAgain,
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
        let _turn = self.inner.changing.lock().await;
        // What was changed before has to be seen.
        if self.inner.read_index.log_id_here().await?.is_none() {
            return Ok(answer(Refused::Interrupted));
        }
        if let Err(refused) = self.judge(change) {
            return Ok(answer(refused));
        }
        if self.inner.rules.strict && !self.majority_after(change).await {
            return Ok(answer(Refused::Unhealthy));
        }
        let Some(members) = self.in_rafts_terms(change) else {
            return Ok(answer(Refused::NotFound));
        };
        Ok(answer(match self.change_membership(members).await? {
            true => Refused::Unspecified,
            false => Refused::Interrupted,
        }))
    }

    fn judge(&self, change: &Change) -> Result<(), Refused> {
        let situation = Situation {
            members: &self.members(),
            is_active: &|id| self.is_active(id),
            has_caught_up: &|id| self.has_caught_up(id),
            was_removed: &|id| self.inner.roster.is_removed(id),
        };
        self.inner.rules.judge(change, &situation)
    }

    /// Whether enough of the voters after `change` answer at this very moment. One that died just
    /// now looks alive for a while yet, and a change that needs its vote would never end.
    async fn majority_after(&self, change: &Change) -> bool {
        let mut voters: BTreeSet<u64> = self.membership().voter_ids().collect();
        match change {
            Change::Add(_) | Change::Update(_) => return true,
            Change::Promote(promote) => drop(voters.insert(promote.id)),
            Change::Remove(remove) => {
                if !voters.remove(&remove.id) {
                    return true;
                }
            }
        }
        let answers = join_all(voters.iter().map(|id| self.answers(*id))).await;
        answers.into_iter().filter(|answers| *answers).count() > voters.len() / 2
    }

    async fn answers(&self, id: u64) -> bool {
        let question = || Question::Identity(IdentityQuestion {});
        id == self.member_id() || self.inner.network.ask(id, question(), ANSWER_MAX).await.is_ok()
    }

    /// Whether member `id` has answered this leader of late.
    pub(in crate::node) fn is_active(&self, id: u64) -> bool {
        let metrics = self.inner.raft.metrics();
        let now = metrics.borrow_watched();
        let answered = now.heartbeat.as_ref().and_then(|heartbeat| heartbeat.get(&id)?.as_ref());
        id == self.member_id()
            || answered.is_some_and(|at| at.elapsed() < self.inner.leaders.lost_after())
    }

    fn has_caught_up(&self, id: u64) -> bool {
        let Some((own, matched)) = self.progress(id) else { return false };
        matched * 100 >= own * CAUGHT_UP_PERCENT
    }

    /// The end of this leader's log, and how far member `id` has it.
    pub(in crate::node) fn progress(&self, id: u64) -> Option<(u64, u64)> {
        let metrics = self.inner.raft.metrics();
        let now = metrics.borrow_watched();
        let matched = now.replication.as_ref()?.get(&id)?.as_ref()?.index + 1;
        Some((now.last_log_index? + 1, matched))
    }

    /// `None`: there is no such member any more.
    fn in_rafts_terms(&self, change: &Change) -> Option<ChangeMembers<u64, Peer>> {
        let membership = self.membership();
        let voter = |id: u64| membership.voter_ids().any(|voter| voter == id);
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
            Change::Remove(remove) if voter(remove.id) => {
                ChangeMembers::RemoveVoters(BTreeSet::from([remove.id]))
            }
            Change::Remove(remove) => ChangeMembers::RemoveNodes(BTreeSet::from([remove.id])),
        })
    }

    /// True once the change is committed; false if this member leads no longer.
    pub(super) async fn change_membership(
        &self,
        members: ChangeMembers<u64, Peer>,
    ) -> Result<bool, Error> {
        loop {
            match self.try_change(members.clone()).await? {
                Attempt::Made => return Ok(true),
                Attempt::Interrupted => return Ok(false),
                Attempt::TryAgain => R::sleep(PAUSE).await,
            }
        }
    }

    async fn try_change(&self, members: ChangeMembers<u64, Peer>) -> Result<Attempt, Error> {
        use ChangeMembershipError as Refused;
        match self.inner.raft.change_membership(members, false).await {
            Ok(_) => Ok(Attempt::Made),
            Err(RaftError::Fatal(fatal)) => Err(Error::of_fatal(&fatal)),
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                Refused::InProgress(_) | Refused::UncommittedLeaderLog(_),
            ))) => Ok(Attempt::TryAgain),
            Err(RaftError::APIError(error)) => {
                tracing::warn!(%error, "a change of members was not made");
                Ok(Attempt::Interrupted)
            }
        }
    }
}

/// A learner becomes a voter that wants nothing more.
pub(super) fn promotion(id: u64, peer: &Peer) -> ChangeMembers<u64, Peer> {
    let peer = Peer { wants_vote: false, ..peer.clone() };
    ChangeMembers::Batch(vec![
        ChangeMembers::SetNodes(BTreeMap::from([(id, peer)])),
        ChangeMembers::AddVoterIds(BTreeSet::from([id])),
    ])
}

fn answer(refused: Refused) -> MembersAnswer {
    MembersAnswer { refused: refused.into() }
}
