//! Moving leadership to a member of choice.

use std::time::Duration;

use openraft::AsyncRuntime;

use super::Node;
use crate::error::Error;
use crate::leaders::Leader;

/// How often one that lags is looked at.
const LOOK: Duration = Duration::from_millis(20);

impl<R: AsyncRuntime> Node<R> {
    /// Hands leadership to voter `to`, and returns when it leads. Writes that come meanwhile wait
    /// for it. Nothing happens before `to` is found to be there and to have almost all of the log:
    /// a leader that has begun to hand over takes no more writes.
    ///
    /// # Errors
    /// [`Error::NoLeader`] if this member does not lead; [`Error::Timeout`] if the other is not
    /// there, or did not take it, which it may do yet.
    pub async fn transfer_leader(&self, to: u64) -> Result<(), Error> {
        self.check_alive()?;
        if self.inner.leaders.current() != Leader::Here {
            return Err(Error::NoLeader);
        }
        if to == self.member_id() {
            return Ok(());
        }
        match R::timeout(self.inner.request_timeout, self.transfer_until_done(to)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Timeout),
        }
    }

    async fn transfer_until_done(&self, to: u64) -> Result<(), Error> {
        while !self.is_close(to) {
            if self.inner.leaders.current() != Leader::Here {
                return Err(Error::NoLeader);
            }
            self.check_alive()?;
            R::sleep(LOOK).await;
        }
        if !self.answers(to).await {
            return Err(Error::Timeout);
        }
        let asked = self.inner.raft.trigger().transfer_leader(to).await;
        asked.map_err(|fatal| self.known(Error::of_fatal(&fatal)))?;
        while self.leader() != Some(to) {
            self.check_alive()?;
            self.inner.leaders.news().await;
        }
        Ok(())
    }

    /// Before this member ends or is removed: hands leadership, if it is here, to the voter that is
    /// there and whose log reaches furthest. Returns when that one leads. The others would elect
    /// somebody by themselves, after an election timeout in which nobody writes.
    ///
    /// # Errors
    /// As [`Node::transfer_leader`].
    pub async fn hand_over(&self) -> Result<(), Error> {
        if self.inner.leaders.current() != Leader::Here {
            return Ok(());
        }
        let membership = self.membership();
        let others = membership.voter_ids().filter(|id| *id != self.member_id());
        let present = self.who_answers(others).await;
        let furthest = present.into_iter().max_by_key(|id| self.progress(*id));
        match furthest {
            Some(to) => self.transfer_leader(to).await,
            None => Ok(()),
        }
    }

    /// Whether member `id` has a vote.
    pub fn is_voter(&self, id: u64) -> bool {
        self.membership().voter_ids().any(|voter| voter == id)
    }
}
