//! What the leader knows of the other members: who is there, and how far each has come.

use std::collections::BTreeSet;
use std::time::Duration;

use api::berthpb::IdentityQuestion;
use api::berthpb::members_question::Change;
use api::berthpb::peer_request::Question;
use futures::future::join_all;
use openraft::AsyncRuntime;
use openraft::async_runtime::WatchReceiver;

use super::Node;
use crate::types::Membership;

/// A learner whose log is within this share of the leader's has caught up, as in etcd.
const CAUGHT_UP_PERCENT: u64 = 90;

/// And within so many entries, before it gets what would make others wait for it: a vote unasked,
/// or leadership.
const CLOSE_ENTRIES: u64 = 1000;

/// How long a member may take to say that it is there.
const ANSWER_MAX: Duration = Duration::from_secs(1);

impl<R: AsyncRuntime> Node<R> {
    /// Who of the members answers at this very moment, this one included; asked only if `change`
    /// depends on it. By its heartbeats one that died just now looks alive for a while yet, and a
    /// change that needs its vote would never end; and a leader that has just begun has heard none.
    pub(super) async fn present(&self, change: &Change, membership: &Membership) -> BTreeSet<u64> {
        if matches!(change, Change::Update(_)) {
            return BTreeSet::new();
        }
        self.who_answers(membership.nodes().map(|(id, _)| *id)).await
    }

    pub(in crate::node) async fn who_answers(
        &self,
        ids: impl Iterator<Item = u64>,
    ) -> BTreeSet<u64> {
        let asked = ids.map(|id| async move { (id, self.answers(id).await) });
        let answered = join_all(asked).await.into_iter().filter(|(_, answers)| *answers);
        answered.map(|(id, _)| id).collect()
    }

    /// Whether member `id` is there at this very moment.
    pub(in crate::node) async fn answers(&self, id: u64) -> bool {
        let question = || Question::Identity(IdentityQuestion {});
        id == self.member_id() || self.inner.network.ask(id, question(), ANSWER_MAX).await.is_ok()
    }

    pub(super) fn has_caught_up(&self, id: u64) -> bool {
        let Some((own, matched)) = self.progress(id) else { return false };
        matched * 100 >= own * CAUGHT_UP_PERCENT
    }

    /// Whether member `id` has the end of the log, but for what it can get in a moment.
    pub(in crate::node) fn is_close(&self, id: u64) -> bool {
        self.progress(id).is_some_and(|(own, matched)| matched + CLOSE_ENTRIES >= own)
    }

    /// The end of this leader's log, and how far member `id` has it.
    pub(in crate::node) fn progress(&self, id: u64) -> Option<(u64, u64)> {
        let metrics = self.inner.raft.metrics();
        let now = metrics.borrow_watched();
        let matched = now.replication.as_ref()?.get(&id)?.as_ref()?.index + 1;
        Some((now.last_log_index? + 1, matched))
    }
}

/// Whether more than half of `voters` are `present`.
pub(super) fn is_majority(present: &BTreeSet<u64>, voters: &BTreeSet<u64>) -> bool {
    present.intersection(voters).count() > voters.len() / 2
}
