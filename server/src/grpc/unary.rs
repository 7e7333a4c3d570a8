//! The calls that nearly all of a server's work is made of, answered without the layers that a router
//! puts around each: `Range`, `Put`, `DeleteRange` and `Txn`.
//!
//! It must answer as [`super::routes`] does; what differs is how many boxes a call passes. The
//! router still has these methods, for callers within the server (the JSON gateway).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use api::etcdserverpb::kv_server::Kv as _;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use prost::Message;
use tonic::metadata::{GRPC_CONTENT_TYPE, MetadataMap};
use tonic::{Extensions, Status};

use super::frame::{self, HEAD_BYTES};
use super::kv::Kv;
use super::{Context, gate, large_range};
use crate::http::{CallKind, GrpcCall, GrpcLayer};

/// Answers the calls it knows. Clones share it.
#[derive(Clone)]
pub struct Unary {
    shared: Arc<Shared>,
}

struct Shared {
    kv: Kv,
    counters: GrpcLayer,
}

#[derive(Clone, Copy)]
pub enum Method {
    Range,
    Put,
    DeleteRange,
    Txn,
}

impl Method {
    /// The method of a request's path, if it is answered here.
    pub fn of(path: &str) -> Option<Self> {
        match path.strip_prefix("/etcdserverpb.KV/")? {
            "Range" => Some(Self::Range),
            "Put" => Some(Self::Put),
            "DeleteRange" => Some(Self::DeleteRange),
            "Txn" => Some(Self::Txn),
            _ => None,
        }
    }
}

impl Unary {
    pub fn new(context: &Context, counters: GrpcLayer) -> Self {
        let kv = Kv { context: context.clone() };
        Self { shared: Arc::new(Shared { kv, counters }) }
    }

    /// Answers one call; dropped before that, it may have taken effect.
    pub async fn answer<B>(self, method: Method, mut request: Request<B>) -> Response<Reply>
    where
        B: HttpBody<Data = Bytes, Error: std::fmt::Display> + Unpin,
    {
        let Shared { kv, counters } = &*self.shared;
        let mut call = counters.begin(request.uri().path());
        let steps = call.steps();
        let work = async {
            match gate::enter(&kv.context, CallKind::Unary, &mut request).await {
                Ok(()) => kv.call(method, request, &mut call).await,
                Err(error) => Err(error.into()),
            }
        };
        match steps.scope(work).await {
            Ok(Answer::Whole(message)) => {
                call.sent(message.len() - HEAD_BYTES);
                call.succeed();
                respond(Reply::whole(message))
            }
            Ok(Answer::Pieces(body)) => respond(Reply::Body(call.around(body))),
            Err(status) => {
                let response = status.into_http::<Body>();
                call.finish(response.headers());
                response.map(Reply::Body)
            }
        }
    }
}

/// What goes out after the head of a successful response.
pub(super) enum Answer {
    /// One frame.
    Whole(Bytes),
    /// A larger one, with its trailers.
    Pieces(Body),
}

impl Kv {
    async fn call<B>(
        &self,
        method: Method,
        request: Request<B>,
        call: &mut GrpcCall,
    ) -> Result<Answer, Status>
    where
        B: HttpBody<Data = Bytes, Error: std::fmt::Display> + Unpin,
    {
        let (parts, body) = request.into_parts();
        let message = frame::unframe(body, self.context.message_bytes_max()).await?;
        call.received(message.len());
        let metadata = MetadataMap::from_headers(parts.headers);
        match method {
            Method::Range => large_range::answer(self, &metadata, frame::decode(message)?).await,
            Method::Put => framed(self.put(asked(metadata, message)?).await?),
            Method::DeleteRange => framed(self.delete_range(asked(metadata, message)?).await?),
            Method::Txn => framed(self.txn(asked(metadata, message)?).await?),
        }
    }
}

fn asked<M: Message + Default>(
    metadata: MetadataMap,
    message: Bytes,
) -> Result<tonic::Request<M>, Status> {
    let message = frame::decode(message)?;
    Ok(tonic::Request::from_parts(metadata, Extensions::default(), message))
}

fn framed<M: Message>(answer: tonic::Response<M>) -> Result<Answer, Status> {
    let message = answer.into_inner();
    let len = message.encoded_len();
    let mut framed = BytesMut::with_capacity(HEAD_BYTES + len);
    frame::put_head(&mut framed, len);
    message.encode(&mut framed).expect("the buffer grows");
    Ok(Answer::Whole(framed.freeze()))
}

fn respond(body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
    response
}

/// The trailers that say that all went well.
pub(super) fn ok_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

/// The body of a response.
pub enum Reply {
    /// One frame, and the trailers that say that all went well.
    Whole { frame: Option<Bytes>, ended: bool },
    /// Any other.
    Body(Body),
}

impl Reply {
    fn whole(frame: Bytes) -> Self {
        Self::Whole { frame: Some(frame), ended: false }
    }
}

impl HttpBody for Reply {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Body(body) => Pin::new(body).poll_frame(context),
            Self::Whole { frame, ended } => Poll::Ready(match frame.take() {
                Some(frame) => Some(Ok(Frame::data(frame))),
                None if !std::mem::replace(ended, true) => Some(Ok(Frame::trailers(ok_trailers()))),
                None => None,
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Body(body) => body.is_end_stream(),
            Self::Whole { ended, .. } => *ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Body(body) => body.size_hint(),
            Self::Whole { frame, .. } => {
                SizeHint::with_exact(frame.as_ref().map_or(0, |frame| frame.len() as u64))
            }
        }
    }
}
