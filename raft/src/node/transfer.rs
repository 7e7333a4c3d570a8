//! Moving leadership to a member of choice.

use openraft::AsyncRuntime;

use super::Node;
use crate::error::Error;
use crate::leaders::Leader;

impl<R: AsyncRuntime> Node<R> {
    /// Hands leadership to voter `to`, and returns when it leads. Writes that come meanwhile wait
    /// for it.
    ///
    /// # Errors
    /// [`Error::NoLeader`] if this member does not lead; [`Error::Timeout`] if the other did not
    /// take it, which it may do yet.
    pub async fn transfer_leader(&self, to: u64) -> Result<(), Error> {
        self.check_alive()?;
        if self.inner.leaders.current() != Leader::Here {
            return Err(Error::NoLeader);
        }
        if to == self.member_id() {
            return Ok(());
        }
        let asked = self.inner.raft.trigger().transfer_leader(to).await;
        asked.map_err(|fatal| self.known(Error::of_fatal(&fatal)))?;
        let moved = async {
            while self.leader() != Some(to) {
                self.check_alive()?;
                self.inner.leaders.news().await;
            }
            Ok(())
        };
        match R::timeout(self.inner.request_timeout, moved).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Timeout),
        }
    }

    /// Before this member ends on purpose: hands leadership, if it is here, to the voter that is
    /// there and whose log reaches furthest. Returns when that one leads. The others would elect
    /// somebody by themselves, after an election timeout in which nobody writes.
    ///
    /// # Errors
    /// As [`Node::transfer_leader`].
    pub async fn hand_over(&self) -> Result<(), Error> {
        if self.inner.leaders.current() != Leader::Here {
            return Ok(());
        }
        let others = self.membership().voter_ids().collect::<Vec<u64>>().into_iter();
        let others = others.filter(|id| *id != self.member_id() && self.is_active(*id));
        let furthest = others.max_by_key(|id| self.progress(*id).map(|(_, matched)| matched));
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
