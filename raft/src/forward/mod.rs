//! Proposals of a member that does not lead: they travel to the leader, and the outcome comes back
//! by the log.
//!
//! Whoever proposes waits for its own member to apply the command: so a client that was answered
//! by a member finds there what it wrote, and an answer that is lost on the way costs nothing.
//! A command must never be sent twice unless it certainly is in nobody's log.
//!
//! Start at [`Forwarder::propose`]; who waits is in `waiters.rs`, how commands travel together in
//! `flights.rs`.

mod flights;
mod waiters;

use std::time::Duration;
use store::planted::{self, Mistake};

use api::berthpb::propose_answer::Fate;
use api::berthpb::{Command, Origin};
use bytes::Bytes;
use futures::channel::oneshot;
use openraft::AsyncRuntime;
use openraft::async_runtime::Select2;
use store::Applied;

use crate::codec;
use crate::error::Error;
use crate::leaders::Leaders;
use crate::peer::{LinkError, Network};
use flights::Flights;
pub(crate) use waiters::Waiters;

/// A command that may be proposed again and again, until it is in a log.
pub(crate) struct Forwarded {
    payload: Bytes,
    ticket: waiters::Ticket,
}

/// What came of one attempt.
pub(crate) enum Attempt {
    Done(Box<Applied>),
    /// It is in nobody's log: try again.
    Again,
    Failed(Error),
}

/// Clones share the queue.
pub(crate) struct Forwarder<R: AsyncRuntime> {
    member_id: u64,
    waiters: Waiters,
    flights: Flights<R>,
    /// How long after a break an outcome may still come by the log.
    grace: Duration,
}

impl Forwarded {
    /// Bytes that travel.
    pub(crate) fn encoded_len(&self) -> usize {
        self.payload.len()
    }
}

impl<R: AsyncRuntime> Forwarder<R> {
    pub(crate) fn new(
        member_id: u64,
        network: Network<R>,
        leaders: Leaders<R>,
        waiters: Waiters,
        timeout: Duration,
        grace: Duration,
    ) -> Forwarder<R> {
        Forwarder { member_id, waiters, flights: Flights::new(network, leaders, timeout), grace }
    }

    /// Makes `command` ready to travel.
    pub(crate) fn prepare(&self, mut command: Command) -> Forwarded {
        let ticket = self.waiters.wait();
        command.origin = Some(Origin { member_id: self.member_id, sequence: ticket.sequence() });
        Forwarded { payload: codec::encode_command(&command), ticket }
    }

    /// Sends it to `leader` and waits for what comes of it.
    pub(crate) async fn propose(&self, leader: u64, command: &mut Forwarded) -> Attempt {
        let fate = self.flights.send(leader, command.payload.clone());
        match R::select2(command.ticket.applied(), fate).await {
            Select2::First(applied) => Attempt::of(applied),
            Select2::Second(Ok(Fate::NotLeader) | Err(LinkError::Unreachable(_))) => Attempt::Again,
            Select2::Second(Ok(Fate::TooMany)) => Attempt::Failed(Error::TooManyRequests),
            // The leader has applied it: so will this member, sooner or later.
            Select2::Second(Ok(Fate::Applied)) => Attempt::of(command.ticket.applied().await),
            Select2::Second(_) if planted::is(Mistake::ProposeTwice) => Attempt::Again,
            Select2::Second(Ok(Fate::Unknown) | Err(_)) => self.last_chance(command).await,
        }
    }

    async fn last_chance(&self, command: &mut Forwarded) -> Attempt {
        match R::timeout(self.grace, command.ticket.applied()).await {
            Ok(applied) => Attempt::of(applied),
            Err(_) => Attempt::Failed(Error::LeaderChanged),
        }
    }
}

impl Attempt {
    fn of(applied: Result<Applied, oneshot::Canceled>) -> Attempt {
        match applied {
            Ok(applied) => Attempt::Done(Box::new(applied)),
            // An installed snapshot may have it in it, or not.
            Err(oneshot::Canceled) => Attempt::Failed(Error::LeaderChanged),
        }
    }
}
