//! The answering side: what this member does with what others say to it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::berthpb::peer_request::Question;
use api::berthpb::peer_response::Answer;
use api::berthpb::refusal::Reason;
use api::berthpb::{self as pb, Envelope, PeerRequest, PeerResponse, Refusal};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use openraft::storage::Snapshot;
use openraft::{AsyncRuntime, Raft};

use super::heard::Heard;
use super::transport::{LinkError, Receiver};
use super::{Identity, Roster, snapshot, wire};
use crate::behind::Behind;
use crate::codec;
use crate::snapshot::SnapshotDir;
use crate::state_machine::StateMachine;
use crate::types::Types;

/// What others may ask of this member beside Raft itself.
pub(crate) trait Duties: Send + Sync + 'static {
    /// Answers, or says why not. Never called before the envelope was found right.
    fn answer(&self, from: u64, question: Question) -> BoxFuture<'static, Result<Answer, Refusal>>;
}

/// Hears other members. Clones share it.
pub(crate) struct Service<R: AsyncRuntime> {
    pub(crate) raft: Raft<Types<R>, StateMachine<R>>,
    pub(crate) identity: Identity,
    pub(crate) roster: Roster,
    pub(crate) behind: Arc<Behind>,
    pub(crate) snapshots: SnapshotDir,
    pub(crate) heard: Heard<R>,
    pub(crate) duties: Arc<dyn Duties>,
    /// A snapshot is coming in.
    pub(crate) receiving: Arc<AtomicBool>,
}

impl<R: AsyncRuntime> Receiver for Service<R> {
    fn call(&self, request: PeerRequest) -> BoxFuture<'static, PeerResponse> {
        let service = self.clone();
        Box::pin(async move {
            let answer = service.answer(request).await;
            PeerResponse { answer: Some(answer.unwrap_or_else(Answer::Refusal)) }
        })
    }

    fn append(
        &self,
        requests: BoxStream<'static, Result<pb::AppendRequest, LinkError>>,
    ) -> BoxStream<'static, pb::AppendResponse> {
        let service = self.clone();
        stream::once(service.open_append(requests)).flatten().boxed()
    }

    fn snapshot(
        &self,
        pieces: BoxStream<'static, Result<pb::SnapshotPiece, LinkError>>,
    ) -> BoxFuture<'static, PeerResponse> {
        let service = self.clone();
        Box::pin(async move {
            let answer = service.install(pieces).await;
            PeerResponse { answer: Some(answer.unwrap_or_else(Answer::Refusal)) }
        })
    }
}

impl<R: AsyncRuntime> Service<R> {
    fn check(&self, envelope: Option<&Envelope>) -> Result<(), Refusal> {
        if let Some(message) = self.behind.failure.get() {
            return Err(refusal(Reason::Stopped, message.to_owned()));
        }
        let envelope = envelope
            .ok_or_else(|| refusal(Reason::NotUnderstood, "no envelope around it".to_owned()))?;
        let checked = self.identity.check(&self.roster, envelope);
        if let Err(refusal) = &checked {
            self.heed(refusal);
        }
        checked
    }

    /// What the sender is refused for may be this member's own fault.
    fn heed(&self, refusal: &Refusal) {
        match refusal.reason() {
            Reason::DiskLostHere => self.behind.failure.set(refusal.message.clone()),
            Reason::WrongCluster | Reason::WrongMember | Reason::DiskLost => {
                tracing::warn!(message = refusal.message, "refused another member");
            }
            _ => {}
        }
    }

    async fn answer(&self, request: PeerRequest) -> Result<Answer, Refusal> {
        let question = request
            .question
            .ok_or_else(|| refusal(Reason::NotUnderstood, "no question in it".to_owned()))?;
        if !matches!(question, Question::Identity(_)) {
            self.check(request.envelope.as_ref())?;
        }
        let from = request.envelope.map_or(0, |envelope| envelope.from);
        match question {
            Question::Vote(question) => self.vote(&question).await,
            Question::Transfer(question) => self.transfer(&question).await,
            other => self.duties.answer(from, other).await,
        }
    }

    async fn vote(&self, question: &pb::VoteQuestion) -> Result<Answer, Refusal> {
        let request = wire::decode_vote_question(question).map_err(damaged)?;
        let asked = match question.pre_vote {
            true => self.raft.pre_vote(request).await,
            false => self.raft.vote(request).await,
        };
        let response = asked.map_err(stopped)?;
        Ok(Answer::Vote(wire::vote_answer(&response)))
    }

    async fn transfer(&self, question: &pb::TransferQuestion) -> Result<Answer, Refusal> {
        let request = wire::decode_transfer_question(question).map_err(damaged)?;
        let response = self.raft.handle_transfer_leader(request).await.map_err(stopped)?;
        Ok(Answer::Transfer(wire::transfer_answer(&response)))
    }

    /// Looks at the first request, which tells whose stream it is.
    async fn open_append(
        self,
        mut requests: BoxStream<'static, Result<pb::AppendRequest, LinkError>>,
    ) -> BoxStream<'static, pb::AppendResponse> {
        let Some(Ok(first)) = requests.next().await else { return stream::empty().boxed() };
        if let Err(refusal) = self.check(first.envelope.as_ref()) {
            return stream::iter([refused(refusal)]).boxed();
        }
        let requests = stream::iter([Ok(first)]).chain(requests);
        // An error, or bytes that are no request, end the stream: the leader opens another.
        let behind = self.behind.clone();
        let requests = requests
            .map(|request| wire::decode_append_request(request.map_err(io::Error::other)?))
            .inspect(move |request| match request {
                // What cannot be applied must not be promised either.
                Err(error) if codec::is_of_later_version(error) => {
                    behind.failure.set(error.to_string());
                }
                _ => {}
            })
            .take_while(|request| std::future::ready(request.is_ok()))
            .filter_map(|request| std::future::ready(request.ok()));
        self.append_decoded(requests.boxed())
    }

    fn append_decoded(
        self,
        requests: BoxStream<'static, AppendEntriesRequest<Types<R>>>,
    ) -> BoxStream<'static, pb::AppendResponse> {
        let answers = self.raft.stream_append(requests);
        let answers = answers.map(move |result| match result {
            Ok(result) => self.answer_append(&result),
            Err(fatal) => refused(stopped(fatal)),
        });
        answers.boxed()
    }

    fn answer_append(&self, result: &StreamAppendResult<Types<R>>) -> pb::AppendResponse {
        use openraft::raft::StreamAppendError;
        if !matches!(result, Err(StreamAppendError::HigherVote(_))) {
            self.heard.now();
        }
        fail::fail_point!("raftBeforeFollowerSend");
        wire::append_response(result)
    }

    async fn install(
        &self,
        mut pieces: BoxStream<'static, Result<pb::SnapshotPiece, LinkError>>,
    ) -> Result<Answer, Refusal> {
        let Some(Ok(pb::SnapshotPiece { start: Some(start), data })) = pieces.next().await else {
            return Err(refusal(Reason::NotUnderstood, "no start of a snapshot".to_owned()));
        };
        self.check(start.envelope.as_ref())?;
        let vote = codec::decode_vote(&start.vote).map_err(damaged)?;
        let _turn = Turn::take(&self.receiving)
            .ok_or_else(|| refusal(Reason::Unknown, "another snapshot is coming in".to_owned()))?;
        let snapshots = self.snapshots.clone();
        tracing::info!(bytes = start.size_bytes, "receiving a snapshot");
        let file = snapshot::receive::<R>(snapshots, start.size_bytes, data, pieces).await;
        let file = file.map_err(|error| {
            tracing::warn!(%error, "a snapshot did not arrive whole");
            let reason = match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    Reason::SnapshotDamaged
                }
                _ => Reason::Unknown,
            };
            refusal(reason, format!("the snapshot did not arrive whole: {error}"))
        })?;
        let snapshot = Snapshot { meta: file.meta().clone(), snapshot: file };
        let response = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        self.heard.now();
        let vote = codec::encode_vote(&response.vote);
        Ok(Answer::Installed(pb::InstalledAnswer { vote }))
    }
}

/// Held while a snapshot comes in.
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(taken: &Arc<AtomicBool>) -> Option<Turn> {
        (!taken.swap(true, Ordering::AcqRel)).then(|| Turn(taken.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

pub(crate) fn refusal(reason: Reason, message: String) -> Refusal {
    Refusal { reason: reason.into(), message }
}

fn refused(refusal: Refusal) -> pb::AppendResponse {
    pb::AppendResponse { outcome: Some(pb::append_response::Outcome::Refusal(refusal)) }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn damaged(error: io::Error) -> Refusal {
    refusal(Reason::NotUnderstood, error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> Refusal {
    refusal(Reason::Stopped, error.to_string())
}

impl<R: AsyncRuntime> Clone for Service<R> {
    fn clone(&self) -> Self {
        Service {
            raft: self.raft.clone(),
            identity: self.identity,
            roster: self.roster.clone(),
            behind: self.behind.clone(),
            snapshots: self.snapshots.clone(),
            heard: self.heard.clone(),
            duties: self.duties.clone(),
            receiving: self.receiving.clone(),
        }
    }
}
