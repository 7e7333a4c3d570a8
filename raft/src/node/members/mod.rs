//! Who the members are, and changing that.
//!
//! Any member may be asked for a change; the leader makes it, one at a time, by joint consensus. A
//! new voter joins as a learner that wants a vote, and gets it when it has caught up: so adding a
//! member that does not run yet never takes the majority away. To clients it is a voter at once, as
//! in etcd. Ids of members that were removed are never given again.
//!
//! Start at [`Node::change_members`]; what is refused is decided in `rules.rs`, what the leader
//! does is in `change.rs`, what it does by itself in `promote.rs`.

mod change;
mod promote;
mod rules;

use api::berthpb::members_answer::Refused;
use api::berthpb::members_question::Change;
use api::berthpb::peer_request::Question;
use api::berthpb::peer_response::Answer;
use api::berthpb::{MembersAnswer, MembersQuestion};
use api::etcdserverpb::Member;
use openraft::AsyncRuntime;
use store::Reader;

pub(crate) use rules::Rules;

use super::Node;
use crate::codec;
use crate::error::Error;
use crate::leaders::Leader;
use crate::types::Peer;

/// Why the members stay as they are.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembersError {
    NotFound,
    IdExists,
    PeerUrlsExist,
    /// Only a learner can become a voter.
    NotLearner,
    /// The learner has not caught up yet.
    NotReady,
    TooManyLearners,
    /// Too few of those that would remain are running.
    NotEnoughStarted,
    /// Too few of those that would remain can be reached.
    Unhealthy,
    Raft(Error),
}

impl From<Error> for MembersError {
    fn from(error: Error) -> MembersError {
        MembersError::Raft(error)
    }
}

impl<R: AsyncRuntime> Node<R> {
    /// The members as of the applied log, by id: what Raft knows of each, and what each has
    /// published of itself.
    pub fn members(&self) -> Vec<Member> {
        members_of(&self.reader())
    }

    /// Makes `change`, and returns the members after it, as this member has applied it. While
    /// nobody leads it waits for somebody who does. If the call is dropped, the change may be made
    /// all the same.
    ///
    /// # Errors
    /// Nothing was changed, but after [`Error::Timeout`] it may be yet.
    pub async fn change_members(&self, change: Change) -> Result<Vec<Member>, MembersError> {
        self.check_alive()?;
        match R::timeout(self.inner.request_timeout, self.change_until_done(change)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Timeout.into()),
        }
    }

    async fn change_until_done(&self, change: Change) -> Result<Vec<Member>, MembersError> {
        // Asked again after a break, what is refused as done already is done.
        let mut broken = false;
        loop {
            let answer = match self.inner.leaders.current() {
                Leader::Here => Some(self.change_members_here(&change).await?),
                Leader::There(leader) => self.ask_for_change(leader, &change).await,
                Leader::Unknown => None,
            };
            match answer.map(|answer| answer.refused()) {
                Some(Refused::Unspecified) => break,
                Some(refused) if broken && done_already(&change, refused) => break,
                None | Some(Refused::Interrupted) => broken = true,
                Some(refused) => return Err(MembersError::of(refused)),
            }
            self.check_alive()?;
            self.inner.leaders.news().await;
        }
        while !is_made(&change, &self.members()) {
            self.check_alive()?;
            self.inner.leaders.news().await;
        }
        Ok(self.members())
    }

    /// `None`: no answer, and nobody knows what came of it.
    async fn ask_for_change(&self, leader: u64, change: &Change) -> Option<MembersAnswer> {
        let question = Question::ChangeMembers(MembersQuestion { change: Some(change.clone()) });
        match self.inner.network.ask(leader, question, self.inner.request_timeout).await {
            Ok(Answer::ChangeMembers(answer)) => Some(answer),
            _ => None,
        }
    }
}

/// Whether `members` are those after `change`.
fn is_made(change: &Change, members: &[Member]) -> bool {
    let find = |id: u64| members.iter().find(|member| member.id == id);
    match change {
        Change::Add(add) => find(add.id).is_some(),
        Change::Promote(promote) => find(promote.id).is_none_or(|member| !member.is_learner),
        Change::Update(update) => {
            find(update.id).is_none_or(|member| same(&member.peer_urls, &update.peer_urls))
        }
        Change::Remove(remove) => find(remove.id).is_none(),
    }
}

fn done_already(change: &Change, refused: Refused) -> bool {
    match change {
        Change::Add(_) => refused == Refused::IdExists,
        Change::Promote(_) => refused == Refused::NotLearner,
        Change::Update(_) => false,
        Change::Remove(_) => refused == Refused::NotFound,
    }
}

fn same(one: &[String], other: &[String]) -> bool {
    let sorted = |urls: &[String]| {
        let mut urls = urls.to_vec();
        urls.sort();
        urls
    };
    sorted(one) == sorted(other)
}

impl MembersError {
    fn of(refused: Refused) -> MembersError {
        match refused {
            Refused::NotFound => MembersError::NotFound,
            Refused::IdExists => MembersError::IdExists,
            Refused::PeerUrlsExist => MembersError::PeerUrlsExist,
            Refused::NotLearner => MembersError::NotLearner,
            Refused::NotReady => MembersError::NotReady,
            Refused::TooManyLearners => MembersError::TooManyLearners,
            Refused::NotEnoughStarted => MembersError::NotEnoughStarted,
            Refused::Unhealthy => MembersError::Unhealthy,
            Refused::Interrupted | Refused::Unspecified => Error::LeaderChanged.into(),
        }
    }
}

/// The members that the state of `reader` names.
pub(crate) fn members_of(reader: &Reader) -> Vec<Member> {
    let stored = codec::decode_stored_membership(reader.membership().as_deref());
    let Ok(stored) = stored else { return Vec::new() };
    let membership = stored.membership();
    let published = reader.members();
    let member = |(id, peer): (&u64, &Peer)| {
        let told = published.iter().find(|member| member.id == *id);
        Member {
            id: *id,
            name: told.map_or_else(|| peer.name.clone(), |told| told.name.clone()),
            peer_urls: peer.peer_urls.clone(),
            client_urls: told.map(|told| told.client_urls.clone()).unwrap_or_default(),
            is_learner: !peer.wants_vote && !membership.voter_ids().any(|voter| voter == *id),
        }
    };
    membership.nodes().map(member).collect()
}
