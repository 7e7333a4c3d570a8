//! What carries messages between members.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use api::berthpb::{AppendRequest, AppendResponse, PeerRequest, PeerResponse, SnapshotPiece};
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use super::AddressBook;

/// Makes links to members.
pub trait Transport: Send + Sync + 'static {
    /// A link to whoever is reached by `route`. Does not connect: that happens when something is
    /// to be sent. Links of different purposes share no connection.
    fn link(&self, route: Route, purpose: Purpose) -> Arc<dyn Link>;
}

/// The way to one member. It reconnects by itself, and looks at its route anew when it does.
pub trait Link: Send + Sync + 'static {
    /// One question, answered within `timeout` or not at all. It must arrive once at most: the
    /// other side does not look whether it has done what it is asked already.
    fn call(
        &self,
        request: PeerRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<PeerResponse, LinkError>>;

    /// A stream of requests and the answers to them, in the same order. `timeout` is for opening
    /// it. Dropping the answers ends it on both sides.
    fn append(
        &self,
        requests: BoxStream<'static, AppendRequest>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Answers, LinkError>>;

    /// The pieces of one snapshot, and the answer once it is installed. Slow receivers slow the
    /// stream down. Dropping the future ends it on both sides. There is no time limit but the
    /// caller's.
    fn snapshot(
        &self,
        pieces: BoxStream<'static, SnapshotPiece>,
    ) -> BoxFuture<'static, Result<PeerResponse, LinkError>>;
}

/// The other end: what a member does with what reaches it. Whoever listens for other members hands
/// everything over, unlooked at.
pub trait Receiver: Send + Sync + 'static {
    fn call(&self, request: PeerRequest) -> BoxFuture<'static, PeerResponse>;

    /// Answers in the order of the requests; ends after the first answer that is not `matching`.
    /// An error among the requests ends the stream, as its end does.
    fn append(
        &self,
        requests: BoxStream<'static, Result<AppendRequest, LinkError>>,
    ) -> BoxStream<'static, AppendResponse>;

    fn snapshot(
        &self,
        pieces: BoxStream<'static, Result<SnapshotPiece, LinkError>>,
    ) -> BoxFuture<'static, PeerResponse>;
}

/// What comes back on an append stream; an error is the last item.
pub type Answers = BoxStream<'static, Result<AppendResponse, LinkError>>;

/// What a link is for. Each purpose has a connection of its own: a heartbeat must not wait behind
/// a megabyte of entries, nor those behind a gigabyte of snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    Replication,
    /// Heartbeats and votes.
    Liveness,
    Snapshot,
    /// Requests on behalf of clients: proposals, read indexes, keep-alives.
    Requests,
}

/// Where a member is reached. Its addresses may change while it is a member.
#[derive(Clone)]
pub struct Route {
    target: Target,
}

#[derive(Clone)]
enum Target {
    Member(u64, AddressBook),
    Urls(Arc<[String]>),
}

impl Route {
    /// To a member, wherever it is by then.
    pub(crate) fn to_member(id: u64, book: AddressBook) -> Route {
        Route { target: Target::Member(id, book) }
    }

    /// To whoever listens at one of `urls`.
    pub fn to_urls(urls: &[String]) -> Route {
        Route { target: Target::Urls(urls.into()) }
    }

    /// The member's id; `None`: not known yet.
    pub fn member_id(&self) -> Option<u64> {
        match &self.target {
            Target::Member(id, _) => Some(*id),
            Target::Urls(_) => None,
        }
    }

    /// Its peer URLs as of now; empty if it is no member any more.
    pub fn urls(&self) -> Vec<String> {
        match &self.target {
            Target::Member(id, book) => book.urls(*id),
            Target::Urls(urls) => urls.to_vec(),
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// It was not sent: nobody could be reached.
    Unreachable(String),
    /// It may have arrived, but the connection broke before the answer did.
    Interrupted(String),
    /// It may have arrived, but no answer came in time.
    TimedOut,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Unreachable(why) => write!(f, "unreachable: {why}"),
            LinkError::Interrupted(why) => write!(f, "interrupted: {why}"),
            LinkError::TimedOut => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for LinkError {}

/// For a member that is alone: reaches nobody.
pub struct NoTransport;

impl Transport for NoTransport {
    fn link(&self, _: Route, _: Purpose) -> Arc<dyn Link> {
        Arc::new(NoTransport)
    }
}

impl Link for NoTransport {
    fn call(
        &self,
        _: PeerRequest,
        _: Duration,
    ) -> BoxFuture<'static, Result<PeerResponse, LinkError>> {
        Box::pin(async { Err(nobody()) })
    }

    fn append(
        &self,
        _: BoxStream<'static, AppendRequest>,
        _: Duration,
    ) -> BoxFuture<'static, Result<Answers, LinkError>> {
        Box::pin(async { Err(nobody()) })
    }

    fn snapshot(
        &self,
        _: BoxStream<'static, SnapshotPiece>,
    ) -> BoxFuture<'static, Result<PeerResponse, LinkError>> {
        Box::pin(async { Err(nobody()) })
    }
}

fn nobody() -> LinkError {
    LinkError::Unreachable("this member has no transport".to_owned())
}
