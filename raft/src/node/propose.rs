//! Writes: here if this member leads, else at the leader's; and while nobody leads, with patience.

use std::sync::Arc;

use api::berthpb::Command;
use futures::channel::oneshot;
use openraft::AsyncRuntime;
use openraft::errors::ClientWriteError;
use store::Applied;

use super::Node;
use crate::admission::Permit;
use crate::background;
use crate::config::Trail;
use crate::error::Error;
use crate::forward::{Attempt, Forwarded};
use crate::leaders::Leader;
use crate::types::{Answer, Proposal};

/// What came of a proposal to this member's own log.
pub(super) enum Written {
    Applied(Applied),
    /// It is not in the log: this member does not lead, or may not write now.
    NotHere,
}

impl<R: AsyncRuntime> Node<R> {
    /// Proposes a command and waits until this member has applied it. [`Applied::result`] is the
    /// state machine's own answer. While nobody leads, it waits for somebody who does. If the call
    /// is dropped, the command may be applied all the same.
    ///
    /// # Errors
    /// After [`Error::Timeout`] and [`Error::LeaderChanged`] it may be applied; after all others
    /// but [`Error::Fatal`] and [`Error::Stopped`] it is not.
    pub async fn propose(&self, command: Command) -> Result<Applied, Error> {
        self.propose_followed(command, None).await
    }

    /// The same; `trail` is told what becomes of it, if this member leads.
    ///
    /// # Errors
    /// As [`Node::propose`].
    pub async fn propose_followed(
        &self,
        command: Command,
        trail: Option<Arc<dyn Trail>>,
    ) -> Result<Applied, Error> {
        let pending = self.inner.tally.begin();
        self.check_alive()?;
        match R::timeout(
            self.inner.request_timeout,
            self.propose_until_done(command, trail.as_ref()),
        )
        .await
        {
            Ok(Ok(applied)) => {
                pending.answered();
                Ok(applied)
            }
            Ok(Err(error)) => Err(self.known(error)),
            Err(_) => Err(Error::Timeout),
        }
    }

    /// Proposes what only a leader may, as long as it is one.
    ///
    /// # Errors
    /// [`Error::NoLeader`] if this member does not lead; else as [`Node::propose`].
    pub(super) async fn propose_here(&self, command: Command) -> Result<Applied, Error> {
        self.check_alive()?;
        let proposal = Proposal::new(command);
        let permit = self.inner.admission.enter_always(proposal.encoded_len());
        match R::timeout(self.inner.request_timeout, self.write(proposal, permit)).await {
            Ok(Ok(Written::Applied(applied))) => Ok(applied),
            Ok(Ok(Written::NotHere)) => Err(Error::NoLeader),
            Ok(Err(error)) => Err(self.known(error)),
            Err(_) => Err(Error::Timeout),
        }
    }

    /// Tries wherever the leader is, until the command is in a log. It is sent again only when it
    /// certainly is in none.
    async fn propose_until_done(
        &self,
        command: Command,
        trail: Option<&Arc<dyn Trail>>,
    ) -> Result<Applied, Error> {
        let mut here: Option<Proposal> = None;
        let mut there: Option<Forwarded> = None;
        loop {
            match self.inner.leaders.current() {
                Leader::Here => {
                    let proposal = || Proposal::new(command.clone()).followed(trail);
                    let proposal = here.get_or_insert_with(proposal).clone();
                    let permit = self.inner.admission.enter(proposal.encoded_len())?;
                    if let Written::Applied(applied) = self.write(proposal, permit).await? {
                        return Ok(applied);
                    }
                }
                Leader::There(leader) => {
                    let forwarded =
                        there.get_or_insert_with(|| self.inner.forwarder.prepare(command.clone()));
                    let _permit = self.inner.admission.enter(forwarded.encoded_len())?;
                    match self.inner.forwarder.propose(leader, forwarded).await {
                        Attempt::Done(applied) => return Ok(*applied),
                        Attempt::Failed(error) => return Err(error),
                        Attempt::Again => {}
                    }
                }
                Leader::Unknown => {}
            }
            self.check_alive()?;
            self.inner.leaders.news().await;
        }
    }

    /// Writes to this member's own log, if it may.
    pub(super) async fn write(
        &self,
        proposal: Proposal,
        mut permit: Permit,
    ) -> Result<Written, Error> {
        if permit.is_large() {
            background::wait_for_engine::<R>(&self.inner.behind).await;
        }
        permit.take_turn().await;
        let (answer, outcome) = Answer::new(permit);
        // Also in the network's requests to the others: a member alone sends to nobody.
        fail::fail_point!("raftBeforeLeaderSend");
        let sent = self.inner.raft.client_write_ff(proposal, Some(answer)).await;
        sent.map_err(|fatal| Error::of_fatal(&fatal))?;
        match outcome.await {
            Ok(Ok(written)) => Ok(Written::Applied(written.data)),
            // Refused before it was appended.
            Ok(Err(ClientWriteError::ForwardToLeader(_))) => Ok(Written::NotHere),
            // It was in the log, and is not: another leader may have it, or nobody.
            Ok(Err(_)) => Err(Error::LeaderChanged),
            // Dropped unanswered: consensus has ended, and says why.
            Err(oneshot::Canceled) => match self.inner.raft.is_initialized().await {
                Err(fatal) => Err(Error::of_fatal(&fatal)),
                Ok(_) => Err(Error::LeaderChanged),
            },
        }
    }
}
