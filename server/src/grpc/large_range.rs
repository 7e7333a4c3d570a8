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
use http::{Request, Response, header};
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
use super::unary::{Answer, ok_trailers};
use crate::steps;

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

/// Answers one call of the router's.
pub(super) async fn serve(kv: Kv, request: Request<Body>) -> Response<Body> {
    match serve_framed(&kv, request).await {
        Ok(body) => {
            let mut response = Response::new(body);
            response.headers_mut().insert(header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
            response
        }
        Err(status) => status.into_http(),
    }
}

async fn serve_framed(kv: &Kv, request: Request<Body>) -> Result<Body, Status> {
    let (parts, body) = request.into_parts();
    let message = frame::unframe(body, kv.context.message_bytes_max()).await?;
    let metadata = MetadataMap::from_headers(parts.headers);
    Ok(match answer(kv, &metadata, frame::decode(message)?).await? {
        Answer::Whole(message) => with_trailers(stream::iter([Ok(Frame::data(message))])),
        Answer::Pieces(body) => body,
    })
}

pub(super) async fn answer(
    kv: &Kv,
    metadata: &MetadataMap,
    range: RangeRequest,
) -> Result<Answer, Status> {
    let plan = kv.plan(metadata, range).await?;
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
        Ok(Answer::Whole(whole(readers, pieces).await?))
    } else {
        Ok(Answer::Pieces(piecewise(readers.clone(), pieces)))
    }
}

async fn whole(readers: &Turns, pieces: Pieces) -> Result<Bytes, Status> {
    // Reading values may wait for the disk; an answer that has none to speak of is made at once.
    let message = if pieces.may_wait() {
        steps::step("read values", readers.run(move || pieces.collect())).await?
    } else {
        pieces.collect()
    };
    Ok(message.map_err(Error::from)?)
}

fn piecewise(readers: Turns, mut pieces: Pieces) -> Body {
    // The head goes out first, so a failure after it can only break the stream off: the client
    // sees a reset, never a short answer.
    let pieces = feed(readers, move || pieces.next(), STALL_MAX);
    with_trailers(pieces.map(|piece| match piece {
        Ok(piece) => Ok(Frame::data(piece)),
        Err(error) => Err(std::io::Error::other(Status::from(error).message().to_owned())),
    }))
}

/// `frames`, and the trailers that say that all went well.
fn with_trailers(
    frames: impl Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send + 'static,
) -> Body {
    let frames = frames.chain(stream::iter([Ok(Frame::trailers(ok_trailers()))]));
    Body::new(StreamBody::new(frames))
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
