//! The Watch service: one bidirectional stream per client, translated to a [`WatchStream`].
//!
//! It answers create requests that may not be, and leaves the rest to the hub. Responses carry
//! events that are already encoded.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::Headed;
use api::berthpb::EncodedWatchResponse;
use api::etcdserverpb::encoded_watch_server::Watch;
use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchRequest};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use watch::{CreateError, Hub, WatchStream};

use super::errors::{self, Error};

/// Requests taken from a client before its events get their turn.
const REQUESTS_PER_TURN: usize = 64;
/// Responses sent before requests are looked for again, if there are so many.
const RESPONSES_PER_TURN: usize = 64;

/// Reasons for `cancel_reason` that are in none of etcd's tables of errors.
const REASON_EMPTY_RANGE: &str = "mvcc: watcher range is empty";
const REASON_DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";

/// What this service needs to know of the server around it.
pub trait Gate: Send + Sync + 'static {
    /// May a stream with this metadata be opened? `hasleader` is judged here.
    ///
    /// # Errors
    /// The status that the stream ends with.
    fn admit(&self, metadata: &MetadataMap) -> Result<(), Status>;

    /// May whoever sent this metadata read these keys? Asked for each watch, because a token may
    /// end while a stream goes on.
    ///
    /// # Errors
    /// The status whose text becomes the reason of refusal.
    fn permit(&self, metadata: &MetadataMap, request: &WatchCreateRequest) -> Result<(), Status>;

    /// Fills what every header says besides the revision.
    fn fill(&self, header: &mut ResponseHeader);

    /// So many events go out.
    fn sent(&self, events: usize);
}

/// The service; wrap it into an `EncodedWatchServer`.
pub struct WatchService<G> {
    hub: Hub,
    gate: Arc<G>,
}

impl<G: Gate> WatchService<G> {
    pub fn new(hub: Hub, gate: Arc<G>) -> Self {
        WatchService { hub, gate }
    }
}

#[tonic::async_trait]
impl<G: Gate> Watch for WatchService<G> {
    type WatchStream = Session<G, Streaming<WatchRequest>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.gate.admit(request.metadata())?;
        let (metadata, _, requests) = request.into_parts();
        let session = Session {
            gate: Arc::clone(&self.gate),
            metadata,
            requests: Some(requests),
            watches: self.hub.open(),
            header: ResponseHeader::default(),
            encoded_header: Bytes::new(),
            unasked: 0,
            ended: false,
        };
        Ok(Response::new(session))
    }
}

/// One client's stream: polled for responses, it takes requests on the way. A client that does not
/// read its responses is not listened to either.
pub struct Session<G, R> {
    gate: Arc<G>,
    metadata: MetadataMap,
    /// `None`: the client closed its side. Its watches go on until it goes away, as in etcd; the
    /// JSON gateway depends on it.
    requests: Option<R>,
    watches: WatchStream,
    /// What the last response's said; but for the revision as of the last look for requests.
    header: ResponseHeader,
    /// The same on the wire; empty: not encoded yet.
    encoded_header: Bytes,
    /// Responses that may still be sent before that.
    unasked: usize,
    ended: bool,
}

impl<G, R> Stream for Session<G, R>
where
    G: Gate,
    R: Stream<Item = Result<WatchRequest, Status>> + Unpin,
{
    type Item = Result<Headed<EncodedWatchResponse>, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let session = self.get_mut();
        if session.ended {
            return Poll::Ready(None);
        }
        let response = match session.next(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(response) => response,
        };
        session.ended = response.is_err();
        Poll::Ready(Some(response))
    }
}

impl<G, R> Session<G, R>
where
    G: Gate,
    R: Stream<Item = Result<WatchRequest, Status>> + Unpin,
{
    /// The next response. Requests are looked for before it, or before one of those that came just
    /// before it; and whenever there is nothing to send, for only then does their coming wake.
    fn next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Headed<EncodedWatchResponse>, Status>> {
        let mut has_looked = false;
        loop {
            if self.unasked == 0 {
                self.gate.fill(&mut self.header);
                self.encoded_header.clear();
                self.take_requests(context)?;
                (self.unasked, has_looked) = (RESPONSES_PER_TURN, true);
            }
            if let Poll::Ready(response) = self.watches.poll_next(context) {
                self.unasked -= 1;
                return Poll::Ready(match response {
                    Some(response) => Ok(self.with_header(response)),
                    None => Err(Error::from(raft::Error::Stopped).into()),
                });
            }
            self.unasked = 0;
            if has_looked {
                return Poll::Pending;
            }
        }
    }

    /// Takes the requests that are there. An error means that the client is gone, or sent what is
    /// no request at all.
    fn take_requests(&mut self, context: &mut Context<'_>) -> Result<(), Status> {
        for _ in 0..REQUESTS_PER_TURN {
            if self.watches.congested() {
                // There are answers to send, so this is polled again.
                return Ok(());
            }
            let Some(requests) = &mut self.requests else { return Ok(()) };
            match requests.poll_next_unpin(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(None) => self.requests = None,
                Poll::Ready(Some(request)) => self.handle(request.map_err(errors::of_stream)?),
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    fn handle(&mut self, request: WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => self.create(&request),
            Some(RequestUnion::CancelRequest(request)) => self.watches.cancel(request.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => self.watches.request_progress(),
            // A kind of a later version: the stream survives it.
            None => {}
        }
    }

    fn create(&mut self, request: &WatchCreateRequest) {
        // etcd looks at the start revision before it looks at permissions.
        if request.start_revision >= 0
            && let Err(status) = self.gate.permit(&self.metadata, request)
        {
            return self.watches.refuse(go_error_text(&status));
        }
        let reason = match self.watches.create(request) {
            Ok(_) => return,
            Err(CreateError::NegativeStart) => errors::text(store::Error::Compacted),
            Err(CreateError::EmptyRange) => REASON_EMPTY_RANGE.to_owned(),
            Err(CreateError::DuplicateId) => REASON_DUPLICATE_ID.to_owned(),
        };
        self.watches.refuse(reason);
    }

    fn with_header(&mut self, mut message: EncodedWatchResponse) -> Headed<EncodedWatchResponse> {
        fail::fail_point!("beforeSendWatchResponse");
        self.gate.sent(message.events.len());
        let revision = message.header.take().map_or(0, |header| header.revision);
        if revision != self.header.revision || self.encoded_header.is_empty() {
            self.header.revision = revision;
            self.encoded_header = api::encode_header(&self.header);
        }
        Headed { header: self.encoded_header.clone(), message }
    }
}

/// A status as Go's gRPC prints it: clients compare it whole, to retry with a new token.
fn go_error_text(status: &Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

#[cfg(test)]
mod tests;
