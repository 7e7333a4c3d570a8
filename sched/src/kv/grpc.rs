//! The store over gRPC, through whichever of its endpoints answers.
//!
//! A member that does not answer is left for the next one at once. What only reads, and what can
//! be done twice, is asked of every member in turn; a write goes to a second one only if the first
//! cannot have seen it.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::lease_client::LeaseClient;
use api::etcdserverpb::watch_client::WatchClient;
use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
    PutRequest, PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
    WatchCreateRequest, WatchRequest, WatchResponse,
};
use futures::{FutureExt, StreamExt, stream};
use parking_lot::Mutex;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use super::credentials::{Token, Tokens};
use super::error::is_by_learner;
use super::{Answer, Credentials, Error, Kind, Kv, Result, Watch};

/// How long one member may take to answer: longer than an election, in which calls wait.
pub const ATTEMPT_MAX: Duration = Duration::from_secs(3);

/// One member: what it is called in messages, and a channel to it.
pub struct Endpoint {
    name: String,
    connect: Box<dyn Fn() -> Channel + Send + Sync>,
    link: Mutex<Link>,
}

struct Link {
    channel: Channel,
    /// How many there were before.
    number: u64,
    /// Something came back by it.
    answered: bool,
}

impl Endpoint {
    /// `connect` gives channels that connect when they are used, and again after they broke. Must be
    /// called within a runtime.
    pub fn new(name: String, connect: impl Fn() -> Channel + Send + Sync + 'static) -> Self {
        let link = Mutex::new(Link { channel: connect(), number: 0, answered: false });
        Self { name, connect: Box::new(connect), link }
    }

    fn channel(&self) -> (Channel, u64) {
        let link = self.link.lock();
        (link.channel.clone(), link.number)
    }

    fn answered(&self, number: u64) {
        let mut link = self.link.lock();
        link.answered |= link.number == number;
    }

    /// A connection that a router has forgotten breaks without a word, and its own pings need longer
    /// to find that out than short leases last. So whoever waited in vain leaves it, unless somebody
    /// else did; calls under way keep it. One that nothing came back by yet is perhaps still being
    /// made, and goes on with that.
    fn leave(&self, number: u64) {
        let mut link = self.link.lock();
        if link.number == number && link.answered {
            *link = Link { channel: (self.connect)(), number: number + 1, answered: false };
        }
    }
}

/// A client of several endpoints of one store.
pub struct GrpcKv {
    endpoints: Vec<Endpoint>,
    /// The endpoint that answered last.
    current: AtomicUsize,
    tokens: Tokens,
    attempt_max: Duration,
}

/// Which failures are worth asking another member.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// Doing it twice is doing it once.
    Always,
    /// Only what nobody can have done yet.
    IfUnsent,
}

impl GrpcKv {
    /// # Errors
    /// There is no endpoint.
    pub fn new(endpoints: Vec<Endpoint>, credentials: Option<Credentials>) -> Result<Self> {
        if endpoints.is_empty() {
            return Err(Error::new(Kind::Refused, "no endpoint is given: set --endpoints"));
        }
        let tokens = Tokens::new(credentials);
        Ok(Self { endpoints, current: AtomicUsize::new(0), tokens, attempt_max: ATTEMPT_MAX })
    }

    /// The same, with another patience for one member.
    #[must_use]
    pub fn with_attempt_max(mut self, attempt_max: Duration) -> Self {
        self.attempt_max = attempt_max;
        self
    }

    /// Asks the current member, then the others where that is allowed, each once.
    async fn ask<T, F>(&self, repeat: Repeat, call: impl Fn(Channel, Token) -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, Status>>,
    {
        let first = self.current.load(Ordering::Relaxed);
        let mut last = Error::unreachable("no endpoint answers");
        for turn in 0..self.endpoints.len() {
            let at = (first + turn) % self.endpoints.len();
            let endpoint = &self.endpoints[at];
            let (error, sent) = match self.attempt(endpoint, &call).await {
                Ok(answer) => {
                    self.current.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            if !error.is_passing() {
                return Err(error);
            }
            // Whoever asks next begins with another one.
            self.current.store((at + 1) % self.endpoints.len(), Ordering::Relaxed);
            last = Error { message: format!("{}: {}", endpoint.name, error.message), ..error };
            if sent && repeat == Repeat::IfUnsent {
                break;
            }
        }
        Err(last)
    }

    /// One call to one member, once more if the token had run out. The error says too whether the
    /// member may have seen the call.
    async fn attempt<T, F>(
        &self,
        endpoint: &Endpoint,
        call: &impl Fn(Channel, Token) -> F,
    ) -> std::result::Result<T, (Error, bool)>
    where
        F: Future<Output = std::result::Result<T, Status>>,
    {
        let (channel, number) = endpoint.channel();
        let answer = async {
            let token = self.tokens.token(&channel).await?;
            match call(channel.clone(), token).await {
                Err(status) if self.tokens.renews(&status) => {
                    let token = self.tokens.token(&channel).await?;
                    call(channel.clone(), token).await
                }
                answer => answer,
            }
        };
        match tokio::time::timeout(self.attempt_max, answer).await {
            Ok(Ok(answer)) => {
                endpoint.answered(number);
                Ok(answer)
            }
            Ok(Err(status)) => {
                let sent = !is_unsent(&status);
                Err((status.into(), sent))
            }
            Err(_) => {
                endpoint.leave(number);
                let waited = self.attempt_max.as_millis();
                Err((Error::unreachable(format!("no answer in {waited} ms")), true))
            }
        }
    }
}

/// Whether the member certainly did nothing: the connection could not even be made, or it has no say.
fn is_unsent(status: &Status) -> bool {
    if is_by_learner(status.message()) {
        return true;
    }
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn with_token<T>(message: T, token: Token) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("token", token);
    }
    request
}

fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(usize::MAX)
}

impl Kv for GrpcKv {
    fn range(&self, request: RangeRequest) -> Answer<'_, RangeResponse> {
        self.ask(Repeat::Always, move |channel, token| {
            let request = with_token(request.clone(), token);
            async move { kv(channel).range(request).await.map(Response::into_inner) }
        })
        .boxed()
    }

    fn put(&self, request: PutRequest) -> Answer<'_, PutResponse> {
        self.ask(Repeat::IfUnsent, move |channel, token| {
            let request = with_token(request.clone(), token);
            async move { kv(channel).put(request).await.map(Response::into_inner) }
        })
        .boxed()
    }

    fn delete_range(&self, request: DeleteRangeRequest) -> Answer<'_, DeleteRangeResponse> {
        self.ask(Repeat::IfUnsent, move |channel, token| {
            let request = with_token(request.clone(), token);
            async move { kv(channel).delete_range(request).await.map(Response::into_inner) }
        })
        .boxed()
    }

    fn txn(&self, request: TxnRequest) -> Answer<'_, TxnResponse> {
        self.ask(Repeat::IfUnsent, move |channel, token| {
            let request = with_token(request.clone(), token);
            async move { kv(channel).txn(request).await.map(Response::into_inner) }
        })
        .boxed()
    }

    fn lease_grant(&self, request: LeaseGrantRequest) -> Answer<'_, LeaseGrantResponse> {
        // A second lease that nobody knows of runs out by itself.
        self.ask(Repeat::Always, move |channel, token| {
            let request = with_token(request, token);
            async move { LeaseClient::new(channel).lease_grant(request).await.map(Response::into_inner) }
        })
        .boxed()
    }

    fn lease_keep_alive(&self, id: i64) -> Answer<'_, i64> {
        self.ask(Repeat::Always, move |channel, token| keep_alive(channel, token, id)).boxed()
    }

    fn lease_revoke(&self, id: i64) -> Answer<'_, ()> {
        let revoked = self.ask(Repeat::Always, move |channel, token| {
            let request = with_token(LeaseRevokeRequest { id }, token);
            async move { LeaseClient::new(channel).lease_revoke(request).await.map(|_| ()) }
        });
        let gone_is_well = |outcome: Result<()>| match outcome {
            Err(error) if error.kind == Kind::NoLease => Ok(()),
            outcome => outcome,
        };
        revoked.map(gone_is_well).boxed()
    }

    fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
    ) -> Answer<'_, LeaseTimeToLiveResponse> {
        self.ask(Repeat::Always, move |channel, token| {
            let request = with_token(request, token);
            async move {
                LeaseClient::new(channel)
                    .lease_time_to_live(request)
                    .await
                    .map(Response::into_inner)
            }
        })
        .boxed()
    }

    fn watch(&self, request: WatchCreateRequest) -> Answer<'_, Watch> {
        self.ask(Repeat::Always, move |channel, token| watch(channel, token, request.clone()))
            .boxed()
    }
}

async fn keep_alive(channel: Channel, token: Token, id: i64) -> std::result::Result<i64, Status> {
    // The stream of questions stays open until the answer is there: some servers end theirs early.
    let questions = stream::iter([LeaseKeepAliveRequest { id }]).chain(stream::pending());
    let request = with_token(questions, token);
    let mut answers = LeaseClient::new(channel).lease_keep_alive(request).await?.into_inner();
    match answers.message().await? {
        Some(answer) => Ok(answer.ttl),
        None => Err(Status::unavailable("the stream ended without an answer")),
    }
}

/// Starts a watch and waits until the server has it.
async fn watch(
    channel: Channel,
    token: Token,
    create: WatchCreateRequest,
) -> std::result::Result<Watch, Status> {
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // The watch lasts as long as the stream of its questions.
    let questions = stream::iter([create]).chain(stream::pending());
    let mut request = with_token(questions, token);
    // A member that is cut off from the others then ends the watch rather than say nothing.
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    let client = WatchClient::new(channel).max_decoding_message_size(usize::MAX);
    let mut answers = { client }.watch(request).await?.into_inner();
    let first = answers.message().await?;
    let first = first.ok_or_else(|| Status::unavailable("the watch ended before it began"))?;
    if let Some(error) = canceled(&first) {
        // As an answer of the watch, so that it reads the same early and late.
        return Ok(stream::iter([Err(error)]).boxed());
    }
    let rest = stream::unfold(Some(answers), |answers| async move { next(answers?).await });
    // etcd may put events into the answer that says `created`.
    let early = (!first.events.is_empty()).then_some(Ok(first));
    Ok(stream::iter(early).chain(rest).boxed())
}

type Answers = Streaming<WatchResponse>;

/// The next answer, and the stream if there is more to come.
async fn next(mut answers: Answers) -> Option<(Result<WatchResponse>, Option<Answers>)> {
    let answer = match answers.message().await {
        Ok(Some(answer)) => answer,
        Ok(None) => return Some((Err(Error::unreachable("the watch has ended")), None)),
        Err(status) => return Some((Err(status.into()), None)),
    };
    match canceled(&answer) {
        Some(error) => Some((Err(error), None)),
        None => Some((Ok(answer), Some(answers))),
    }
}

fn canceled(answer: &WatchResponse) -> Option<Error> {
    if answer.compact_revision > 0 {
        return Some(Error::compacted(answer.compact_revision));
    }
    if !answer.canceled {
        return None;
    }
    let reason = &answer.cancel_reason;
    let message = format!("the watch was canceled: {reason}");
    let lasts = reason.contains("permission denied");
    Some(Error::new(if lasts { Kind::Refused } else { Kind::Unreachable }, message))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn another_member_is_asked_where_that_helps() {
        // Proves that a learner's refusal of a write goes to the next member at once, that an alarm
        // does not, but leaves that member, and that a refusal does neither.
        let endpoint = |name: &str| {
            let connect = || Channel::from_static("http://127.0.0.1:1").connect_lazy();
            Endpoint::new(name.to_owned(), connect)
        };
        let learner = Status::failed_precondition("etcdserver: rpc not supported for learner");
        let full = Status::resource_exhausted("etcdserver: mvcc: database space exceeded");
        let denied = Status::permission_denied("etcdserver: permission denied");
        for (status, outcome, next) in [
            (learner, Ok(2), 1),
            (full, Err(Kind::Unreachable), 1),
            (denied, Err(Kind::Refused), 0),
        ] {
            let kv = GrpcKv::new(vec![endpoint("one"), endpoint("two")], None).unwrap();
            let calls = AtomicUsize::new(0);
            let call = |_, _| {
                let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
                let answer = if call == 1 { Err(status.clone()) } else { Ok(call) };
                async move { answer }
            };
            let answer = kv.ask(Repeat::IfUnsent, call).await;
            assert_eq!(answer.map_err(|error| error.kind), outcome, "{status}");
            assert_eq!(kv.current.load(Ordering::Relaxed), next, "{status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_left() {
        // Proves that a member which does not answer in time any more is asked over a new connection
        // next, one for all who waited; and over the same one that answers, or never did: that one
        // may still be in the making.
        let made = Arc::new(AtomicUsize::new(0));
        let counted = made.clone();
        let connect = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Channel::from_static("http://127.0.0.1:1").connect_lazy()
        };
        let kv = GrpcKv::new(vec![Endpoint::new("one".to_owned(), connect)], None).unwrap();
        let silence = || {
            kv.ask(Repeat::Always, |_, _| std::future::pending::<std::result::Result<(), Status>>())
        };
        for (answers, expected) in [(false, 1), (true, 2), (true, 3), (false, 3)] {
            if answers {
                kv.ask(Repeat::Always, |_, _| async { Ok(()) }).await.unwrap();
            }
            let (one, other) = tokio::join!(silence(), silence());
            assert!(one.is_err() && other.is_err());
            assert_eq!(made.load(Ordering::Relaxed), expected);
        }
    }
}
