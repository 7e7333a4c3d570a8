//! What this member does for others beside Raft itself.

use api::berthpb::peer_request::Question;
use api::berthpb::peer_response::Answer;
use api::berthpb::propose_answer::Fate;
use api::berthpb::refusal::Reason;
use api::berthpb::{
    IdentityAnswer, KeepAliveAnswer, MembersQuestion, ProposeAnswer, ProposeQuestion,
    ReadIndexAnswer, Refusal, RemainingAnswer,
};
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use openraft::{AsyncRuntime, EntryPayload};

use super::Node;
use super::propose::Written;
use crate::codec;
use crate::error::Error;
use crate::peer::{Duties, refusal};

impl<R: AsyncRuntime> Duties for Node<R> {
    fn answer(
        &self,
        _from: u64,
        question: Question,
    ) -> BoxFuture<'static, Result<Answer, Refusal>> {
        let node = self.clone();
        Box::pin(async move { node.answer_peer(question).await })
    }
}

impl<R: AsyncRuntime> Node<R> {
    async fn answer_peer(&self, question: Question) -> Result<Answer, Refusal> {
        if let Question::Identity(_) = question {
            return Ok(Answer::Identity(self.identity_answer()));
        }
        self.check_alive().map_err(stopped)?;
        match question {
            Question::Propose(question) => Ok(Answer::Propose(self.propose_for(question).await)),
            Question::ReadIndex(_) => self.read_index_for().await,
            Question::KeepAlive(question) => {
                let ttl_s = self.keep_alive_here(question.id).await.map_err(stopped)?;
                let ttl_s = ttl_s.ok_or_else(not_leader)?.unwrap_or(0);
                Ok(Answer::KeepAlive(KeepAliveAnswer { ttl_s }))
            }
            Question::Remaining(question) => {
                let left = self.remaining_here(question.id).await.map_err(stopped)?;
                let remaining_s = left.ok_or_else(not_leader)?.unwrap_or(-1);
                Ok(Answer::Remaining(RemainingAnswer { remaining_s }))
            }
            Question::ChangeMembers(MembersQuestion { change: Some(change) }) => {
                let answer = self.change_members_here(&change).await.map_err(stopped)?;
                Ok(Answer::ChangeMembers(answer))
            }
            Question::Hash(question) => Ok(Answer::Hash(self.hash_for(question).await)),
            _ => Err(refusal(Reason::NotUnderstood, "no question that is known".to_owned())),
        }
    }

    fn identity_answer(&self) -> IdentityAnswer {
        IdentityAnswer {
            cluster_id: self.cluster_id(),
            member_id: self.member_id(),
            members: self.members(),
        }
    }

    /// Proposes another member's commands, each on its own.
    async fn propose_for(&self, question: ProposeQuestion) -> ProposeAnswer {
        let fates = question.commands.into_iter().map(|command| self.fate_of(command));
        let fates = join_all(fates).await.into_iter().map(i32::from).collect();
        ProposeAnswer { fates }
    }

    async fn fate_of(&self, command: Bytes) -> Fate {
        let Ok(EntryPayload::Normal(proposal)) = codec::decode_payload(command) else {
            // Of a later version, which this leader must not put into its log.
            return Fate::NotLeader;
        };
        let Ok(permit) = self.inner.admission.enter(proposal.encoded_len()) else {
            return Fate::TooMany;
        };
        match self.write(proposal, permit).await {
            Ok(Written::Applied(_)) => Fate::Applied,
            Ok(Written::NotHere) => Fate::NotLeader,
            Err(_) => Fate::Unknown,
        }
    }

    async fn read_index_for(&self) -> Result<Answer, Refusal> {
        let log_id = self.inner.read_index.log_id_here().await.map_err(stopped)?;
        let log_id = codec::encode_log_id(&log_id.ok_or_else(not_leader)?);
        Ok(Answer::ReadIndex(ReadIndexAnswer { log_id }))
    }
}

fn not_leader() -> Refusal {
    refusal(Reason::NotLeader, "this member does not lead".to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn stopped(error: Error) -> Refusal {
    refusal(Reason::Stopped, error.to_string())
}
