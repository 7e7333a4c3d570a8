//! Who the members are, and changing that.
//!
//! Any member may be asked for a change; the leader makes it, one at a time, by joint consensus. A
//! new voter joins as a learner that wants a vote, and gets it when it has caught up: so adding a
//! member that does not run yet never takes the majority away. To clients it is a voter at once, as
//! in etcd. Ids of members that were removed are never given again.
//!
//! Every change is of one membership that was seen applied, and is written only if that is still
//! the newest: whatever came in between, be it another leader, makes the leader look again.
//!
//! Start at [`Node::change_members`]; what is refused is decided in `rules.rs`, what the leader
//! does is in `change.rs`, what it does by itself in `promote.rs`, what it knows of the others in
//! `others.rs`.

mod change;
mod others;
mod promote;
mod rules;
mod terms;

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
use crate::peer;
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
        match self.ask_until_made(&change).await {
            // Nobody tells a member any more what comes after its removal.
            Ok(answer) if terms::removes(&change, self.member_id()) => return Ok(answer.members),
            Ok(_) => {}
            Err(_) if terms::removes(&change, self.member_id()) && self.was_removed() => {
                let mut left = self.members();
                left.retain(|member| member.id != self.member_id());
                return Ok(left);
            }
            Err(error) => return Err(error),
        }
        while !is_made(&change, &self.members()) {
            self.check_alive()?;
            self.inner.leaders.news().await;
        }
        Ok(self.members())
    }

    /// The leader's answer, when it has made the change.
    async fn ask_until_made(&self, change: &Change) -> Result<MembersAnswer, MembersError> {
        // Asked again after a break, what is refused as done already is done.
        let mut broken = false;
        loop {
            let answer = match self.inner.leaders.current() {
                Leader::Here => Some(self.change_members_here(change).await?),
                Leader::There(leader) => self.ask_for_change(leader, change).await,
                Leader::Unknown => None,
            };
            match answer.map(|answer| (answer.refused(), answer)) {
                Some((Refused::Unspecified, answer)) => return Ok(answer),
                Some((refused, answer)) if broken && done_already(change, refused) => {
                    return Ok(answer);
                }
                None | Some((Refused::Interrupted, _)) => broken = true,
                Some((refused, _)) => return Err(MembersError::of(refused)),
            }
            self.check_alive()?;
            self.inner.leaders.news().await;
        }
    }

    fn was_removed(&self) -> bool {
        let said = self.inner.behind.failure.get();
        said.is_some_and(|said| said == peer::removed(self.member_id()))
    }

    /// Whether `id` stands for a member, or stood for one that was removed.
    pub fn is_taken(&self, id: u64) -> bool {
        self.inner.roster.is_removed(id) || self.members().iter().any(|member| member.id == id)
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
