//! Leases from any member: the clock is the leader's.

use api::berthpb::peer_request::Question;
use api::berthpb::peer_response::Answer;
use api::berthpb::{KeepAliveAnswer, KeepAliveQuestion, RemainingAnswer, RemainingQuestion};
use openraft::AsyncRuntime;
use openraft::async_runtime::Select2;

use super::Node;
use crate::error::Error;
use crate::leaders::Leader;
use crate::lessor::{self, Renewal};

impl<R: AsyncRuntime> Node<R> {
    /// Gives the lease its full time again and answers that time, in seconds; `None`: there is no
    /// such lease. The clock that counts is the leader's, wherever it is. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Stopped`], [`Error::Fatal`].
    pub async fn keep_alive(&self, id: i64) -> Result<Option<i64>, Error> {
        self.by_the_clock(Wish::KeepAlive(id)).await
    }

    /// Time left, in whole seconds rounded down; `None`: no such lease. This member has then applied
    /// what the leader's clock knew of: the grant, and keys. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Stopped`], [`Error::Fatal`].
    pub async fn lease_remaining(&self, id: i64) -> Result<Option<i64>, Error> {
        self.by_the_clock(Wish::Remaining(id)).await
    }

    /// Asks whoever leads, until somebody answers.
    async fn by_the_clock(&self, wish: Wish) -> Result<Option<i64>, Error> {
        self.check_alive()?;
        match R::timeout(self.inner.request_timeout, self.ask_until_answered(wish)).await {
            Ok(outcome) => outcome.map_err(|error| self.known(error)),
            Err(_) => Err(Error::Timeout),
        }
    }

    async fn ask_until_answered(&self, wish: Wish) -> Result<Option<i64>, Error> {
        loop {
            let answer = match (self.inner.leaders.current(), wish) {
                (Leader::Here, Wish::KeepAlive(id)) => self.keep_alive_here(id).await?,
                (Leader::Here, Wish::Remaining(id)) => self.remaining_here(id).await?,
                (Leader::There(leader), wish) => self.ask_and_follow(leader, wish).await?,
                (Leader::Unknown, _) => None,
            };
            if let Some(answer) = answer {
                return Ok(answer);
            }
            self.check_alive()?;
            self.inner.leaders.news().await;
        }
    }

    /// `None`: this member's clock does not count.
    pub(super) async fn keep_alive_here(&self, id: i64) -> Result<Option<Option<i64>>, Error> {
        let renewed = match self.renew(id).await? {
            // Whoever asks may have seen a grant that this member has yet to apply.
            Some(None) => {
                self.catch_up().await?;
                self.renew(id).await?
            }
            renewed => renewed,
        };
        // A leader that was replaced and does not know it yet must not promise anything. Nor must
        // one whose followers have seen the lease end.
        let Some(ttl_s) = renewed else { return Ok(None) };
        self.catch_up().await?;
        Ok(self.inner.lessor.knows(id).map(|known| ttl_s.filter(|_| known)))
    }

    async fn renew(&self, id: i64) -> Result<Option<Option<i64>>, Error> {
        loop {
            match self.inner.lessor.keep_alive(id).await {
                Ok(Renewal::Until(ttl_s)) => return Ok(Some(Some(ttl_s))),
                Ok(Renewal::Unknown) => return Ok(Some(None)),
                // A later leader would begin with less.
                Ok(Renewal::Checkpointed(reset)) => {
                    match self.propose_here(lessor::reset(&reset)).await {
                        Ok(_) => self.inner.lessor.was_reset(&reset),
                        Err(Error::NoLeader) => return Ok(None),
                        Err(error) => return Err(error),
                    }
                }
                Err(Error::NoLeader) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) async fn remaining_here(&self, id: i64) -> Result<Option<Option<i64>>, Error> {
        // As above: what was granted has to be applied first.
        self.catch_up().await?;
        if !self.inner.lessor.is_leading() {
            return Ok(None);
        }
        let remaining = self.inner.lessor.remaining(id);
        self.catch_up().await?;
        Ok(self.inner.lessor.is_leading().then_some(remaining))
    }

    /// Returns when this member's clock knows of everything that any member showed before the call.
    async fn catch_up(&self) -> Result<(), Error> {
        self.inner.barrier.pass::<R>().await?;
        self.inner.lessor.learned().await;
        Ok(())
    }

    /// The leader's answer, when this member has applied what that rests on, if it matters.
    async fn ask_and_follow(&self, leader: u64, wish: Wish) -> Result<Option<Option<i64>>, Error> {
        let answer = self.ask(leader, wish).await;
        if answer.is_some() && matches!(wish, Wish::Remaining(_)) {
            self.inner.barrier.pass::<R>().await?;
        }
        Ok(answer)
    }

    /// Asks the leader, until another leads; `None`: it gave no answer.
    async fn ask(&self, leader: u64, wish: Wish) -> Option<Option<i64>> {
        let changed = self.inner.leaders.changed_from(Leader::There(leader));
        let question = wish.question();
        let asked = self.inner.network.ask(leader, question, self.inner.request_timeout);
        match R::select2(Box::pin(changed), Box::pin(asked)).await {
            Select2::Second(Ok(Answer::KeepAlive(KeepAliveAnswer { ttl_s }))) => {
                Some((ttl_s > 0).then_some(ttl_s))
            }
            Select2::Second(Ok(Answer::Remaining(RemainingAnswer { remaining_s }))) => {
                Some((remaining_s >= 0).then_some(remaining_s))
            }
            _ => None,
        }
    }
}

/// What is wanted of the clock, for a lease.
#[derive(Clone, Copy)]
enum Wish {
    KeepAlive(i64),
    Remaining(i64),
}

impl Wish {
    fn question(self) -> Question {
        match self {
            Wish::KeepAlive(id) => Question::KeepAlive(KeepAliveQuestion { id }),
            Wish::Remaining(id) => Question::Remaining(RemainingQuestion { id }),
        }
    }
}
