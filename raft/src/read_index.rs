//! One round of ReadIndex: here if this member leads, else at the leader's.

use std::sync::Arc;
use std::time::Duration;
use store::planted::{self, Mistake};

use api::berthpb::ReadIndexQuestion;
use api::berthpb::peer_request::Question;
use api::berthpb::peer_response::Answer;
use openraft::async_runtime::{Select2, WatchReceiver};
use openraft::{AsyncRuntime, Raft, ReadPolicy};

use crate::behind::Behind;
use crate::codec;
use crate::error::Error;
use crate::leaders::{Leader, Leaders};
use crate::peer::Network;
use crate::sole::Sole;
use crate::state_machine::StateMachine;
use crate::types::{LogId, Types};

/// How often a reader that waits for an entry to be applied looks whether the node still lives.
const LIVENESS: Duration = Duration::from_secs(1);

pub(crate) struct ReadIndex<R: AsyncRuntime> {
    pub(crate) raft: Raft<Types<R>, StateMachine<R>>,
    pub(crate) leaders: Leaders<R>,
    pub(crate) network: Network<R>,
    pub(crate) behind: Arc<Behind>,
    pub(crate) sole: Sole,
    pub(crate) timeout: Duration,
}

impl<R: AsyncRuntime> ReadIndex<R> {
    /// Returns when this member has applied everything that was acknowledged before the call. While
    /// nobody leads it waits for somebody who does.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Stopped`], [`Error::Fatal`].
    pub(crate) async fn round(&self) -> Result<(), Error> {
        match R::timeout(self.timeout, self.try_until_done()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Timeout),
        }
    }

    async fn try_until_done(&self) -> Result<(), Error> {
        loop {
            let before = self.sole.now();
            match self.leaders.current() {
                Leader::Here => {
                    if let Some(log_id) = self.log_id_here().await? {
                        self.applied(&log_id).await?;
                        self.sole.settle(before, log_id.index, || self.is_alone_by(log_id.index));
                        return Ok(());
                    }
                }
                Leader::There(leader) => {
                    if let Some(log_id) = self.log_id_there(leader).await {
                        return self.applied(&log_id).await;
                    }
                }
                Leader::Unknown => {}
            }
            self.check_alive()?;
            self.leaders.news().await;
        }
    }

    /// By a membership up to `index`, as far as openraft has told; it tells late of changes, never of
    /// what it began with.
    fn is_alone_by(&self, index: u64) -> bool {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        let entry = now.membership_config.log_id().as_ref().map(|log_id| log_id.index);
        entry.is_some_and(|entry| entry <= index)
            && self.sole.is_alone_in(now.membership_config.membership())
    }

    /// What must be applied; `None`: it could not tell, or leads no more, and asking again is right.
    async fn log_id_there(&self, leader: u64) -> Option<LogId> {
        let changed = self.leaders.changed_from(Leader::There(leader));
        match R::select2(Box::pin(changed), Box::pin(self.ask(leader))).await {
            Select2::First(()) => None,
            Select2::Second(log_id) => log_id,
        }
    }

    /// By a round of heartbeats, as the leader; `None`: it is not, or its followers do not answer.
    pub(crate) async fn log_id_here(&self) -> Result<Option<LogId>, Error> {
        if planted::is(Mistake::StaleRead) {
            return Ok(codec::log_id_at(&self.behind.reader().position()).ok().flatten());
        }
        match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Ok(Some(*linearizer.read_log_id().log_id())),
            Err(error) => match Error::of_read(error) {
                Error::NoLeader => Ok(None),
                fatal => Err(fatal),
            },
        }
    }

    async fn ask(&self, leader: u64) -> Option<LogId> {
        let question = Question::ReadIndex(ReadIndexQuestion {});
        match self.network.ask(leader, question, self.timeout).await {
            Ok(Answer::ReadIndex(answer)) => codec::decode_log_id(&answer.log_id).ok(),
            _ => None,
        }
    }

    /// Returns when this member has applied the log up to `log_id`.
    pub(crate) async fn applied(&self, log_id: &LogId) -> Result<(), Error> {
        let index = log_id.index;
        // The store is ahead of what openraft has heard of it.
        while self.behind.reader().position().index <= index {
            let wait = self.raft.wait(Some(LIVENESS));
            if wait.applied_index_at_least(Some(index), "read").await.is_ok() {
                return Ok(());
            }
            self.check_alive()?;
        }
        Ok(())
    }

    fn check_alive(&self) -> Result<(), Error> {
        if let Some(message) = self.behind.failure.get() {
            return Err(Error::Fatal(message.to_owned()));
        }
        match &self.raft.metrics().borrow_watched().running_state {
            Ok(()) => Ok(()),
            Err(fatal) => Err(Error::of_fatal(fatal)),
        }
    }
}

impl<R: AsyncRuntime> Clone for ReadIndex<R> {
    fn clone(&self) -> Self {
        ReadIndex {
            raft: self.raft.clone(),
            leaders: self.leaders.clone(),
            network: self.network.clone(),
            behind: self.behind.clone(),
            sole: self.sole.clone(),
            timeout: self.timeout,
        }
    }
}
