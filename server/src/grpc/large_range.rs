//! `Range` for network clients: any answer, in bounded memory.
//!
//! One gRPC message is one frame, and its length comes first. A plan knows that length before it
//! has read a value, so a large answer goes out piece by piece: the frame's head, the header, then
//! chunks of key-values as the client takes them. The bytes are those of the usual encoding, since
//! the encoding of a repeated field is the concatenation of its parts.

use api::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use store::RangePlan;
use tonic::Status;
use tonic::metadata::{GRPC_CONTENT_TYPE, MetadataMap};

use super::errors::Error;
use super::feed::{STALL_MAX, feed};
use super::frame::{self, HEAD_BYTES};
use super::kv::Kv;
use super::turns::Turns;

/// The path it answers.
pub(super) const PATH: &str = "/etcdserverpb.KV/Range";

/// Answers up to this are encoded at once.
const WHOLE_BYTES_MAX: usize = 1 << 20;
/// Answers of one key up to this are read where they are asked for: what waits for the disk then is
/// at most one place of it.
const AT_ONCE_BYTES_MAX: usize = 16 << 10;
/// Bytes of a piece of a larger one. A slow client keeps a few of them in memory.
const PIECE_BYTES: usize = 256 << 10;
/// What grpc-go would refuse to send.
const ANSWER_BYTES_MAX: usize = i32::MAX as usize;

const _: () = assert!(PIECE_BYTES < WHOLE_BYTES_MAX);

/// Answers one call.
pub(super) async fn serve(kv: Kv, request: Request<Body>) -> Response<Body> {
    match answer(&kv, request).await {
        Ok(response) => response,
        Err(status) => status.into_http(),
    }
}

async fn answer(kv: &Kv, request: Request<Body>) -> Result<Response<Body>, Status> {
    let (parts, body) = request.into_parts();
    let range: RangeRequest = frame::read(body, kv.context.message_bytes_max()).await?;
    let plan = kv.plan(&MetadataMap::from_headers(parts.headers), range).await?;
    let mut answer_header = ResponseHeader { revision: plan.revision(), ..Default::default() };
    kv.context.fill_without_revision(&mut answer_header);
    let head = RangeResponse { header: Some(answer_header), ..Default::default() };
    let len = head.encoded_len() + plan.encoded_len();
    if len > ANSWER_BYTES_MAX {
        return Err(Error::AnswerTooLarge { len, len_max: ANSWER_BYTES_MAX }.into());
    }
    let pieces = Pieces { plan, left: len, stage: Stage::Head(head) };
    let readers = kv.context.readers();
    if len <= WHOLE_BYTES_MAX {
        whole(readers, pieces).await
    } else {
        Ok(piecewise(readers.clone(), pieces))
    }
}

async fn whole(readers: &Turns, pieces: Pieces) -> Result<Response<Body>, Status> {
    // Reading values may wait for the disk; an answer that has none to speak of is made at once.
    let message = if pieces.may_wait() {
        readers.run(move || pieces.collect()).await?
    } else {
        pieces.collect()
    };
    let message = message.map_err(Error::from)?;
    Ok(respond(stream::iter([Ok(Frame::data(message))])))
}

fn piecewise(readers: Turns, mut pieces: Pieces) -> Response<Body> {
    // The head goes out first, so a failure after it can only break the stream off: the client
    // sees a reset, never a short answer.
    let pieces = feed(readers, move || pieces.next(), STALL_MAX);
    respond(pieces.map(|piece| match piece {
        Ok(piece) => Ok(Frame::data(piece)),
        Err(error) => Err(std::io::Error::other(Status::from(error).message().to_owned())),
    }))
}

/// A successful response with `frames` and the trailers that say so.
fn respond(
    frames: impl Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send + 'static,
) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    let frames = frames.chain(stream::iter([Ok(Frame::trailers(trailers))]));
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
    response
}

/// An answer on its way to the wire.
struct Pieces {
    plan: RangePlan,
    /// Bytes of the message that are not out yet.
    left: usize,
    stage: Stage,
}

enum Stage {
    Head(RangeResponse),
    Keys,
    Done,
}

impl Pieces {
    /// The next piece of the frame; `None` after the last. Blocks.
    fn next(&mut self) -> Result<Option<Bytes>, store::Error> {
        let mut piece = BytesMut::new();
        match std::mem::replace(&mut self.stage, Stage::Keys) {
            Stage::Done => return Ok(None),
            Stage::Head(head) => {
                frame::put_head(&mut piece, self.left);
                self.put(&head, &mut piece)?;
            }
            Stage::Keys => {}
        }
        match self.plan.next_chunk(PIECE_BYTES)? {
            Some(kvs) => self.put(&RangeResponse { kvs, ..Default::default() }, &mut piece)?,
            None => {
                let (more, count) = (self.plan.more(), self.plan.count());
                self.put(&RangeResponse { more, count, ..Default::default() }, &mut piece)?;
                self.stage = Stage::Done;
                if self.left > 0 {
                    return Err(off_plan());
                }
            }
        }
        Ok(Some(piece.freeze()))
    }

    /// The whole frame. Blocks.
    fn collect(mut self) -> Result<Bytes, store::Error> {
        let mut message = BytesMut::with_capacity(HEAD_BYTES + self.left);
        while let Some(piece) = self.next()? {
            message.put(piece);
        }
        Ok(message.freeze())
    }

    fn put(&mut self, part: &RangeResponse, piece: &mut BytesMut) -> Result<(), store::Error> {
        let len = part.encoded_len();
        self.left = self.left.checked_sub(len).ok_or_else(off_plan)?;
        piece.reserve(len);
        part.encode(piece).map_err(|error| store::Error::Engine(error.to_string()))
    }

    /// A single small value is read at once.
    fn may_wait(&self) -> bool {
        self.plan.count() > 1 || self.left > AT_ONCE_BYTES_MAX
    }
}

/// The length that went out first was not that of what followed: never send it as if it were.
fn off_plan() -> store::Error {
    store::Error::Engine("an answer is not as long as it was planned".to_owned())
}
