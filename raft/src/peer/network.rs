//! The asking side, as openraft wants it.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use store::planted::{self, Mistake};

use api::berthpb::peer_request::Question;
use api::berthpb::peer_response::Answer;
use api::berthpb::{Envelope, PeerRequest, PeerResponse, Refusal};
use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use openraft::anyerror::AnyError;
use openraft::async_runtime::Select2;
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{AsyncRuntime, OptionalSend};

use super::transport::{Answers, Link, LinkError, Purpose, Route, Transport};
use super::{AddressBook, Identity, Roster, snapshot, wire};
use crate::behind::Behind;
use crate::peer::patience::Patience;
use crate::snapshot::{SnapshotDir, SnapshotFile};
use crate::types::{Peer, Types, Vote};

/// The pause between two attempts to reach a member that cannot be reached.
const BACKOFF: Duration = Duration::from_millis(200);

/// All that is needed to speak to other members. Clones share it.
pub(crate) struct Network<R> {
    shared: Arc<Shared>,
    runtime: PhantomData<fn() -> R>,
}

struct Shared {
    transport: Arc<dyn Transport>,
    identity: Identity,
    book: AddressBook,
    roster: Roster,
    behind: Arc<Behind>,
    snapshots: SnapshotDir,
    limits: Limits,
    links: parking_lot::Mutex<BTreeMap<(u64, Purpose), Arc<dyn Link>>>,
}

/// How long, and how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long a member may leave entries unanswered.
    pub(crate) append_answer: Duration,
    pub(crate) snapshot_bytes_per_s_max: Option<u64>,
}

impl<R: AsyncRuntime> Network<R> {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        identity: Identity,
        roster: Roster,
        behind: Arc<Behind>,
        snapshots: SnapshotDir,
        limits: Limits,
    ) -> Network<R> {
        let book = AddressBook::default();
        let links = parking_lot::Mutex::default();
        let shared = Shared { transport, identity, book, roster, behind, snapshots, limits, links };
        Network { shared: Arc::new(shared), runtime: PhantomData }
    }

    pub(crate) fn book(&self) -> &AddressBook {
        &self.shared.book
    }

    /// Asks member `to`, and gives up after `timeout`.
    ///
    /// # Errors
    /// The link's; a refusal is an answer.
    pub(crate) async fn ask(
        &self,
        to: u64,
        question: Question,
        timeout: Duration,
    ) -> Result<Answer, LinkError> {
        self.shared.ask(to, Purpose::Requests, question, timeout).await
    }

    /// Forgets the links to who is no member any more.
    pub(crate) fn keep_links(&self, is_member: impl Fn(u64) -> bool) {
        self.shared.links.lock().retain(|(id, _), _| is_member(*id));
    }
}

impl Shared {
    /// # Errors
    /// Nobody knows where the member is: it is one no more. Whoever leads for a moment after its
    /// own removal is asked by many, often.
    fn link(&self, to: u64, purpose: Purpose) -> Result<Arc<dyn Link>, LinkError> {
        if self.book.urls(to).is_empty() {
            return Err(LinkError::Unreachable("it has no peer URLs: it is no member".to_owned()));
        }
        let make = || {
            let route = Route::to_member(to, self.book.clone());
            self.transport.link(route, purpose)
        };
        Ok(self.links.lock().entry((to, purpose)).or_insert_with(make).clone())
    }

    fn envelope(&self, to: u64) -> Envelope {
        self.identity.envelope(&self.roster, to)
    }

    async fn ask(
        &self,
        to: u64,
        purpose: Purpose,
        question: Question,
        timeout: Duration,
    ) -> Result<Answer, LinkError> {
        let request = PeerRequest { envelope: Some(self.envelope(to)), question: Some(question) };
        let PeerResponse { answer } = self.link(to, purpose)?.call(request, timeout).await?;
        let answer = answer.ok_or_else(|| LinkError::Interrupted("an empty answer".into()))?;
        if let Answer::Refusal(refusal) = &answer {
            self.heed(refusal);
        }
        Ok(answer)
    }

    /// Some refusals say that this member cannot go on.
    fn heed(&self, refusal: &Refusal) {
        use api::berthpb::refusal::Reason;
        match refusal.reason() {
            Reason::Removed => {
                self.behind.failure.set(removed(self.identity.member_id));
            }
            Reason::DiskLost => self.behind.failure.set(refusal.message.clone()),
            _ => tracing::debug!(message = refusal.message, "refused by another member"),
        }
    }
}

/// What a member says when it learns that it is one no more.
pub(crate) fn removed(member_id: u64) -> String {
    format!(
        "this member ({member_id:x}) has been permanently removed from the cluster: its data \
         directory is of no more use. To bring this server back, add it as a new member and start it with an \
         empty data directory"
    )
}

impl<R> Clone for Network<R> {
    fn clone(&self) -> Self {
        Network { shared: self.shared.clone(), runtime: PhantomData }
    }
}

impl<R: AsyncRuntime> RaftNetworkFactory<Types<R>> for Network<R> {
    type Network = Client<R>;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> Client<R> {
        self.client(target, peer, Purpose::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: u64, peer: &Peer) -> Client<R> {
        self.client(target, peer, Purpose::Liveness)
    }

    async fn new_snapshot_client(&mut self, target: u64, peer: &Peer) -> Client<R> {
        self.client(target, peer, Purpose::Snapshot)
    }
}

impl<R: AsyncRuntime> Network<R> {
    fn client(&self, target: u64, peer: &Peer, appends: Purpose) -> Client<R> {
        self.shared.book.learn(target, peer);
        Client { shared: self.shared.clone(), target, appends, runtime: PhantomData }
    }
}

/// Speaks to one member.
pub(crate) struct Client<R> {
    shared: Arc<Shared>,
    target: u64,
    /// What entries and heartbeats travel on.
    appends: Purpose,
    runtime: PhantomData<fn() -> R>,
}

impl<R: AsyncRuntime> Client<R> {
    async fn ask(
        &self,
        question: Question,
        option: &RPCOption,
    ) -> Result<Answer, RPCError<Types<R>>> {
        let asked = self.shared.ask(self.target, Purpose::Liveness, question, option.hard_ttl());
        match asked.await {
            Ok(Answer::Refusal(refusal)) => Err(self.unreachable(&refusal.message)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.error(error, option)),
        }
    }

    fn link(
        &self,
        purpose: Purpose,
        option: &RPCOption,
    ) -> Result<Arc<dyn Link>, RPCError<Types<R>>> {
        self.shared.link(self.target, purpose).map_err(|error| self.error(error, option))
    }

    fn error(&self, error: LinkError, option: &RPCOption) -> RPCError<Types<R>> {
        match error {
            LinkError::Unreachable(why) => self.unreachable(&why),
            LinkError::Interrupted(_) => {
                RPCError::Network(NetworkError::new(&AnyError::new(&error)))
            }
            LinkError::TimedOut => RPCError::Timeout(Timeout {
                action: RPCTypes::AppendEntries,
                id: self.shared.identity.member_id,
                target: self.target,
                timeout: option.hard_ttl(),
            }),
        }
    }

    fn unreachable(&self, why: &str) -> RPCError<Types<R>> {
        let why = format!("member {:x}: {why}", self.target);
        RPCError::Unreachable(Unreachable::new(&AnyError::error(why)))
    }

    fn damaged(&self, error: &io::Error) -> RPCError<Types<R>> {
        RPCError::Network(NetworkError::new(error))
    }

    /// One answer to entries, as openraft wants it.
    fn outcome(
        &self,
        answer: Result<api::berthpb::AppendResponse, LinkError>,
        option: &RPCOption,
    ) -> Result<StreamAppendResult<Types<R>>, RPCError<Types<R>>> {
        let answer = answer.map_err(|error| self.error(error, option))?;
        match wire::decode_append_response(answer).map_err(|error| self.damaged(&error))? {
            Ok(result) => Ok(result),
            Err(refusal) => {
                self.shared.heed(&refusal);
                Err(self.unreachable(&refusal.message))
            }
        }
    }
}

impl<R: AsyncRuntime> RaftNetworkV2<Types<R>> for Client<R> {
    type SnapshotData = SnapshotFile;

    /// Openraft asks through [`Client::stream_append`]; this is the same for one request.
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<R>>, RPCError<Types<R>>> {
        let one = stream::iter([request]);
        let mut answers = self.stream_append(one, option).await?;
        match answers.next().await {
            Some(Ok(Ok(_))) => Ok(AppendEntriesResponse::Success),
            Some(Ok(Err(StreamAppendError::Conflict(_)))) => Ok(AppendEntriesResponse::Conflict),
            Some(Ok(Err(StreamAppendError::HigherVote(vote)))) => {
                Ok(AppendEntriesResponse::HigherVote(vote))
            }
            Some(Err(error)) => Err(error),
            None => Err(RPCError::Network(NetworkError::from_string("no answer to entries"))),
        }
    }

    /// Requests go out as they come, without waiting for the answers to those before them.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<
            BoxStream<'s, Result<StreamAppendResult<Types<R>>, RPCError<Types<R>>>>,
            RPCError<Types<R>>,
        >,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types<R>>> + OptionalSend + Unpin + 'static,
    {
        let patience = Patience::new(self.shared.limits.append_answer);
        let envelope = self.shared.envelope(self.target);
        let asked = patience.clone();
        let mut requests = input
            .enumerate()
            .map(move |(place, request)| {
                asked.asked();
                fail::fail_point!("raftBeforeLeaderSend");
                wire::append_request(&request, (place == 0).then_some(envelope))
            })
            .boxed();
        Box::pin(async move {
            // In here openraft waits after errors: a member that refuses connections is not asked
            // for another at once, and again.
            let Some(first) = requests.next().await else { return Ok(stream::empty().boxed()) };
            let last = planted_acknowledgement(&first);
            let requests = stream::iter([first]).chain(requests).boxed();
            let link = self.link(self.appends, &option)?;
            let timeout = option.hard_ttl().max(OPEN_MIN);
            let answers: Answers = match link.append(requests, timeout).await {
                Ok(answers) => answers,
                Err(_) if last.is_some() => stream::iter(last.map(Ok)).boxed(),
                Err(error) => return Err(self.error(error, &option)),
            };
            let this = &*self;
            let answers = patience.watch::<R>(answers);
            Ok(answers.map(move |answer| this.outcome(answer, &option)).boxed())
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        self.ask_for_vote(&request, false, &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        self.ask_for_vote(&request, true, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types<R>, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        let envelope = self.shared.envelope(self.target);
        let rate = self.shared.limits.snapshot_bytes_per_s_max;
        let file = snapshot.snapshot;
        let pieces = snapshot::pieces::<R>(file.clone(), envelope, &vote, rate);
        let link = self.link(Purpose::Snapshot, &option).map_err(streaming)?;
        let cancel = Box::pin(cancel);
        let answer = match R::select2(cancel, link.snapshot(pieces)).await {
            Select2::First(closed) => return Err(StreamingError::Closed(closed)),
            Select2::Second(answer) => answer,
        };
        let answer = answer.map_err(|error| self.error(error, &option)).map_err(streaming)?;
        match answer.answer {
            Some(Answer::Installed(installed)) => {
                let vote = crate::codec::decode_vote(&installed.vote);
                let vote = vote.map_err(|error| streaming(self.damaged(&error)))?;
                Ok(SnapshotResponse::new(vote))
            }
            Some(Answer::Refusal(refusal)) => {
                self.shared.heed(&refusal);
                if refusal.reason() == api::berthpb::refusal::Reason::SnapshotDamaged {
                    self.doubt(file).await;
                }
                Err(streaming(self.unreachable(&refusal.message)))
            }
            _ => Err(streaming(self.damaged(&wire::not_understood("answer to a snapshot")))),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<R>>, RPCError<Types<R>>> {
        let question = Question::Transfer(wire::transfer_question(&request));
        match self.ask(question, &option).await? {
            Answer::Transfer(answer) => {
                wire::decode_transfer_answer(answer).map_err(|error| self.damaged(&error))
            }
            _ => Err(self.damaged(&wire::not_understood("answer to a transfer"))),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(BACKOFF)))
    }
}

/// A stream is opened in one round trip; openraft's own limit is for a heartbeat on a good day.
const OPEN_MIN: Duration = Duration::from_secs(1);

impl<R: AsyncRuntime> Client<R> {
    /// What arrived damaged may have been damaged before it was sent, and then it would be sent
    /// again and again.
    async fn doubt(&self, sent: SnapshotFile) {
        let snapshots = self.shared.snapshots.clone();
        let looked = R::spawn_blocking(move || snapshots.doubt(&sent)).await;
        match looked.and_then(|looked| looked) {
            Ok(true) => self.shared.behind.snapshot.raise(),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "a damaged snapshot cannot be put aside"),
        }
    }

    async fn ask_for_vote(
        &self,
        request: &VoteRequest<Types<R>>,
        pre_vote: bool,
        option: &RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        let question = Question::Vote(wire::vote_question(request, pre_vote));
        match self.ask(question, option).await? {
            Answer::Vote(answer) => {
                wire::decode_vote_answer(&answer).map_err(|error| self.damaged(&error))
            }
            _ => Err(self.damaged(&wire::not_understood("answer to a vote"))),
        }
    }
}

/// What a member would answer that has taken the entries, for [`Mistake::SubQuorum`] alone.
fn planted_acknowledgement(
    request: &api::berthpb::AppendRequest,
) -> Option<api::berthpb::AppendResponse> {
    if !planted::is(Mistake::SubQuorum) {
        return None;
    }
    let last = request.entries.last().map(|entry| entry.log_id.clone());
    let matching = last.unwrap_or_else(|| request.prev_log_id.clone());
    use api::berthpb::append_response::Outcome;
    Some(api::berthpb::AppendResponse { outcome: Some(Outcome::Matching(matching)) })
}

fn streaming<R: AsyncRuntime>(error: RPCError<Types<R>>) -> StreamingError<Types<R>> {
    match error {
        RPCError::Timeout(timeout) => StreamingError::Timeout(timeout),
        RPCError::Unreachable(unreachable) => StreamingError::Unreachable(unreachable),
        RPCError::Network(network) => StreamingError::Network(network),
        RPCError::RemoteError(error) => {
            StreamingError::Network(NetworkError::from_string(error.to_string()))
        }
    }
}
