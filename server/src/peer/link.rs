//! What `raft` asks of the way to a member, as gRPC calls.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use api::berthpb::peer_client::PeerClient;
use api::berthpb::{AppendRequest, AppendResponse, PeerRequest, PeerResponse, SnapshotPiece};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt, unfold};
use raft::peer::{Answers, Link, LinkError, Purpose};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, Streaming};

use super::MESSAGE_BYTES_MAX;
use super::abandon::{self, Reader};
use super::connection::{Connection, SendError};
use super::count::{self, RoundTrips, Traffic};
use super::wire::Wire;
use crate::http::MemberCounters;

/// How often a question is sent that has not left: the first connection may have died unnoticed.
const SENDS_MAX: usize = 2;

pub(super) struct GrpcLink {
    wire: Arc<Wire>,
    traffic: Traffic,
}

impl GrpcLink {
    pub(super) fn new(wire: Arc<Wire>) -> Self {
        let traffic = Traffic::with(wire.presence().counters());
        Self { wire, traffic }
    }

    /// Counts it if `work` fails.
    fn counted<T: 'static>(
        &self,
        work: impl Future<Output = Result<T, LinkError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, LinkError>> {
        let traffic = self.traffic.clone();
        Box::pin(async move { work.await.inspect_err(|_| traffic.send_failed()) })
    }
}

impl Link for GrpcLink {
    fn call(
        &self,
        request: PeerRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<PeerResponse, LinkError>> {
        let limit = Limit::new(timeout);
        self.counted(call(self.wire.clone(), self.traffic.clone(), request, limit))
    }

    fn append(
        &self,
        requests: BoxStream<'static, AppendRequest>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Answers, LinkError>> {
        let limit = Limit::new(timeout);
        self.counted(append(self.wire.clone(), self.traffic.clone(), requests, limit))
    }

    fn snapshot(
        &self,
        pieces: BoxStream<'static, SnapshotPiece>,
    ) -> BoxFuture<'static, Result<PeerResponse, LinkError>> {
        self.counted(snapshot(self.wire.clone(), self.traffic.clone(), pieces))
    }
}

async fn call(
    wire: Arc<Wire>,
    traffic: Traffic,
    request: PeerRequest,
    limit: Limit,
) -> Result<PeerResponse, LinkError> {
    let mut failure = LinkError::TimedOut;
    for _ in 0..SENDS_MAX {
        let connection = connect(&wire, limit).await?;
        let mut client = client(&connection);
        traffic.sent(&request);
        match timeout(limit.left(), client.call(request.clone())).await {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                traffic.received(&answer);
                return Ok(answer);
            }
            Ok(Err(status)) => failure = why(&status),
            Err(_) => return Err(LinkError::TimedOut),
        }
        if !matches!(failure, LinkError::Unreachable(_)) {
            break;
        }
    }
    Err(failure)
}

async fn append(
    wire: Arc<Wire>,
    traffic: Traffic,
    requests: BoxStream<'static, AppendRequest>,
    limit: Limit,
) -> Result<Answers, LinkError> {
    let connection = connect(&wire, limit).await?;
    let mut client = client(&connection);
    let round_trips = (wire.purpose() == Purpose::Liveness).then(RoundTrips::default);
    let sent = {
        let (traffic, round_trips) = (traffic.clone(), round_trips.clone());
        move |request: &AppendRequest| {
            traffic.sent(request);
            if let Some(times) = &round_trips {
                times.request();
            }
        }
    };
    let (requests, reader) = abandon::tie(requests.inspect(sent).boxed(), connection);
    match timeout(limit.left(), client.append(requests)).await {
        Ok(Ok(answers)) => {
            let incoming = answers.into_inner();
            Ok(Reading { incoming, traffic, round_trips, _reader: reader }.into_answers())
        }
        Ok(Err(status)) => Err(why(&status)),
        Err(_) => Err(LinkError::TimedOut),
    }
}

/// An append stream's answers on their way in.
struct Reading {
    incoming: Streaming<AppendResponse>,
    traffic: Traffic,
    /// Only heartbeats are timed: what they wait for is the way.
    round_trips: Option<RoundTrips>,
    _reader: Reader,
}

impl Reading {
    fn into_answers(self) -> Answers {
        unfold(Some(self), async |reading| {
            let mut reading = reading?;
            match reading.incoming.message().await {
                Ok(Some(answer)) => {
                    reading.count(&answer);
                    Some((Ok(answer), Some(reading)))
                }
                Ok(None) => None,
                Err(status) => {
                    reading.traffic.send_failed();
                    Some((Err(why(&status)), None))
                }
            }
        })
        .boxed()
    }

    fn count(&self, answer: &AppendResponse) {
        self.traffic.received(answer);
        if let Some(times) = &self.round_trips {
            times.answer(&self.traffic);
        }
    }
}

async fn snapshot(
    wire: Arc<Wire>,
    traffic: Traffic,
    pieces: BoxStream<'static, SnapshotPiece>,
) -> Result<PeerResponse, LinkError> {
    let connection = wire.connection().await.map_err(LinkError::Unreachable)?;
    let under_way = traffic.counters().map(MemberCounters::sending_snapshot);
    let pieces = {
        let traffic = traffic.clone();
        pieces.inspect(move |piece| traffic.sent(piece))
    };
    let mut client = client(&connection);
    // Boxed: the compiler cannot see through it that the whole is Send.
    let answer = client.snapshot(pieces).boxed().await.map_err(|status| why(&status))?.into_inner();
    traffic.received(&answer);
    count::snapshot_answered(under_way, &answer);
    Ok(answer)
}

fn client(connection: &Connection) -> PeerClient<Connection> {
    PeerClient::with_origin(connection.clone(), connection.origin())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// As long as there is no connection, nothing was sent.
async fn connect(wire: &Arc<Wire>, limit: Limit) -> Result<Connection, LinkError> {
    match timeout(limit.left(), wire.connection()).await {
        Ok(connection) => connection.map_err(LinkError::Unreachable),
        Err(_) => Err(LinkError::Unreachable("still connecting".to_owned())),
    }
}

/// From a failed call to what the caller may do about it. In doubt, it may have arrived.
fn why(status: &Status) -> LinkError {
    let send_error = status.source().and_then(|source| source.downcast_ref::<SendError>());
    match send_error {
        Some(SendError { unsent: true, why }) => LinkError::Unreachable(why.clone()),
        // Nobody there who would have taken it in.
        _ if status.code() == Code::Unimplemented => {
            LinkError::Unreachable(format!("it does not serve members: {}", status.message()))
        }
        _ => LinkError::Interrupted(status.message().to_owned()),
    }
}

/// How long everything together may take.
#[derive(Clone, Copy)]
struct Limit {
    began: Instant,
    time_max: Duration,
}

impl Limit {
    fn new(time_max: Duration) -> Self {
        Self { began: Instant::now(), time_max }
    }

    fn left(self) -> Duration {
        self.time_max.saturating_sub(self.began.elapsed())
    }
}
