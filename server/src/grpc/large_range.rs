//! `Range` for network clients: any answer, in bounded memory.
//!
//! One gRPC message is one frame, and its length comes first. A plan knows that length before it
//! has read a value, so a large answer goes out piece by piece: the frame's head, the header, then
//! chunks of key-values as the client takes them. The bytes are those of the usual encoding, since
//! the encoding of a repeated field is the concatenation of its parts. A large value goes out from
//! where it lies in memory, and is not copied.

use api::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use api::mvccpb::KeyValue;
use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http::{Request, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use prost::encoding::{self, WireType, encode_key, encode_varint};
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
/// Answers up to this, of so many keys, are made where they are asked for if all of their values are
/// in memory.
const AT_HAND_BYTES_MAX: usize = 4 << 20;
const AT_HAND_KEYS_MAX: usize = 32;
/// Those of them that are made as one piece.
const COPIED_BYTES_MAX: usize = 64 << 10;
/// A value from here on is not copied.
const APART_BYTES_MIN: usize = 16 << 10;
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
    let mut pieces = Pieces { plan, left: len, stage: Stage::Head(head) };
    let readers = kv.context.readers();
    // Reading values may wait for the disk; an answer that has none to speak of is made at once.
    if !pieces.may_wait() {
        return Ok(Answer::Whole(pieces.collect().map_err(Error::from)?));
    }
    if pieces.plan.is_at_hand(AT_HAND_KEYS_MAX, AT_HAND_BYTES_MAX) {
        return Ok(match len {
            ..COPIED_BYTES_MAX => Answer::Whole(pieces.collect().map_err(Error::from)?),
            _ => Answer::Pieces(at_hand(pieces).map_err(Error::from)?),
        });
    }
    if len <= WHOLE_BYTES_MAX {
        let collected = steps::step("read values", readers.run(move || pieces.collect())).await?;
        return Ok(Answer::Whole(collected.map_err(Error::from)?));
    }
    Ok(Answer::Pieces(piecewise(readers.clone(), pieces)))
}

fn at_hand(mut pieces: Pieces) -> Result<Body, store::Error> {
    let mut parts = Vec::new();
    while let Some(piece) = pieces.next()? {
        parts.extend(piece);
    }
    Ok(with_trailers(stream::iter(parts.into_iter().map(|part| Ok(Frame::data(part))))))
}

fn piecewise(readers: Turns, mut pieces: Pieces) -> Body {
    // The head goes out first, so a failure after it can only break the stream off: the client
    // sees a reset, never a short answer.
    let pieces = feed(readers, move || pieces.next(), STALL_MAX);
    let frames = pieces.map(|piece| match piece {
        Ok(parts) => parts.into_iter().map(|part| Ok(Frame::data(part))).collect(),
        Err(error) => {
            let message = Status::from(error).message().to_owned();
            vec![Err(std::io::Error::other(message))]
        }
    });
    with_trailers(frames.flat_map(stream::iter))
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
    /// The next piece of the frame, in parts; `None` after the last. Blocks.
    fn next(&mut self) -> Result<Option<Vec<Bytes>>, store::Error> {
        let mut parts = Parts::default();
        match std::mem::replace(&mut self.stage, Stage::Keys) {
            Stage::Done => return Ok(None),
            Stage::Head(head) => {
                frame::put_head(&mut parts.open, self.left);
                self.put(&head, &mut parts)?;
            }
            Stage::Keys => {}
        }
        match self.plan.next_chunk(PIECE_BYTES)? {
            Some(kvs) => {
                let copied = kvs.iter().filter(|kv| kv.value.len() < APART_BYTES_MIN);
                parts.open.reserve(copied.map(item_len).sum());
                kvs.into_iter().try_for_each(|kv| self.put_item(kv, &mut parts))?;
            }
            None => {
                let (more, count) = (self.plan.more(), self.plan.count());
                self.put(&RangeResponse { more, count, ..Default::default() }, &mut parts)?;
                self.stage = Stage::Done;
                if self.left > 0 {
                    return Err(off_plan());
                }
            }
        }
        Ok(Some(parts.close()))
    }

    /// The whole frame. Blocks.
    fn collect(mut self) -> Result<Bytes, store::Error> {
        let mut message = BytesMut::with_capacity(HEAD_BYTES + self.left);
        while let Some(piece) = self.next()? {
            piece.into_iter().for_each(|part| message.put(part));
        }
        Ok(message.freeze())
    }

    fn put(&mut self, part: &RangeResponse, parts: &mut Parts) -> Result<(), store::Error> {
        self.account(part.encoded_len())?;
        part.encode(&mut parts.open).map_err(|error| store::Error::Engine(error.to_string()))
    }

    fn put_item(&mut self, kv: KeyValue, parts: &mut Parts) -> Result<(), store::Error> {
        self.account(item_len(&kv))?;
        parts.put_item(kv);
        Ok(())
    }

    fn account(&mut self, len: usize) -> Result<(), store::Error> {
        self.left = self.left.checked_sub(len).ok_or_else(off_plan)?;
        Ok(())
    }

    /// A single small value is read at once.
    fn may_wait(&self) -> bool {
        self.plan.count() > 1 || self.left > AT_ONCE_BYTES_MAX
    }
}

/// The tags of `RangeResponse.kvs` and of `KeyValue.value`. Behind the value there is the lease.
const KVS: u32 = 2;
const VALUE: u32 = 5;

/// Encoded length of one key-value in the list, with its tag and length.
fn item_len(kv: &KeyValue) -> usize {
    encoding::message::encoded_len(KVS, kv)
}

/// A piece in the making.
#[derive(Default)]
struct Parts {
    done: Vec<Bytes>,
    open: BytesMut,
}

impl Parts {
    fn put_item(&mut self, mut kv: KeyValue) {
        if kv.value.len() < APART_BYTES_MIN {
            return encoding::message::encode(KVS, &kv, &mut self.open);
        }
        encode_key(KVS, WireType::LengthDelimited, &mut self.open);
        encode_varint(kv.encoded_len() as u64, &mut self.open);
        let value = std::mem::take(&mut kv.value);
        let behind = KeyValue { lease: std::mem::take(&mut kv.lease), ..KeyValue::default() };
        kv.encode_raw(&mut self.open);
        encode_key(VALUE, WireType::LengthDelimited, &mut self.open);
        encode_varint(value.len() as u64, &mut self.open);
        self.done.push(self.open.split().freeze());
        self.done.push(value);
        behind.encode_raw(&mut self.open);
    }

    fn close(mut self) -> Vec<Bytes> {
        if !self.open.is_empty() {
            self.done.push(self.open.freeze());
        }
        self.done
    }
}

/// The length that went out first was not that of what followed: never send it as if it were.
fn off_plan() -> store::Error {
    store::Error::Engine("an answer is not as long as it was planned".to_owned())
}
