//! gRPC's framing of one message: a byte that says whether it is compressed, its length in four
//! bytes, big endian, then the message.
//!
//! Source: "gRPC over HTTP2", `Length-Prefixed-Message`.

use std::fmt::Display;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use prost::Message;
use tonic::{Code, Status};

use super::errors::Error;

pub(crate) const HEAD_BYTES: usize = 5;

/// Messages grow to this length as they come in.
const GROWS_BYTES_MAX: usize = 32 << 10;
/// How often what has come in there may be room for.
const GROWTH_MAX: usize = 32;

/// Begins a frame whose message has `len` bytes.
pub(crate) fn put_head(out: &mut BytesMut, len: usize) {
    out.put_u8(0);
    out.put_u32(u32::try_from(len).expect("a message is shorter than 4 GiB"));
}

/// What [`unframe`] gave, as a message.
///
/// # Errors
/// `Internal` for what is no message, as grpc-go answers.
pub(super) fn decode<M: Message + Default>(message: Bytes) -> Result<M, Status> {
    M::decode(message).map_err(|error| {
        Status::new(Code::Internal, format!("grpc: error unmarshalling request: {error}"))
    })
}

/// The one message of a unary call, of at most `len_max` bytes, in memory of its own: what is kept of
/// it keeps nothing else.
///
/// # Errors
/// [`Error::MessageTooLarge`]; `Internal` for what is not one frame.
pub(super) async fn unframe<B>(mut body: B, len_max: usize) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes, Error: Display> + Unpin,
{
    let mut received = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::new(Code::Unavailable, error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            received.extend_from_slice(&data);
            check_head(&received, len_max)?;
            make_room(&mut received);
        }
    }
    if received.len() < HEAD_BYTES {
        return Err(Status::internal("grpc: the request has no message"));
    }
    let len = announced(&received);
    received.advance(HEAD_BYTES);
    if received.len() != len {
        return Err(Status::internal("grpc: the request is not one message"));
    }
    Ok(received.freeze())
}

/// Room for all of a long message once a part of it is there: it would be copied again and again as
/// it grows. A length alone, which costs its sender nothing, gets no memory.
fn make_room(received: &mut BytesMut) {
    if received.len() < GROWS_BYTES_MAX {
        return;
    }
    let len = HEAD_BYTES + announced(received);
    if received.capacity() < len && len <= received.len() * GROWTH_MAX {
        received.reserve(len - received.len());
    }
}

/// Refuses as soon as the head is known, before the rest is taken in.
fn check_head(received: &BytesMut, len_max: usize) -> Result<(), Status> {
    if received.len() < HEAD_BYTES {
        return Ok(());
    }
    if received[0] != 0 {
        return Err(Status::unimplemented("grpc: compressed requests are not supported"));
    }
    let len = announced(received);
    if len > len_max {
        return Err(Error::MessageTooLarge { len, len_max }.into());
    }
    if received.len() > HEAD_BYTES + len {
        return Err(Status::internal("grpc: the request is not one message"));
    }
    Ok(())
}

/// The length of the message whose head has come in.
pub(crate) fn announced(received: &[u8]) -> usize {
    received[1..HEAD_BYTES].iter().fold(0, |len, byte| len << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::RangeRequest;

    use super::*;

    const LEN_MAX: usize = 64;

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut frame = BytesMut::new();
        put_head(&mut frame, message.len());
        frame.extend_from_slice(message);
        frame.to_vec()
    }

    async fn outcome(body: Vec<u8>) -> Result<RangeRequest, Code> {
        let message = unframe(axum::body::Body::from(body), LEN_MAX).await;
        message.and_then(decode).map_err(|status| status.code())
    }

    #[tokio::test]
    async fn what_was_framed_is_read_back() {
        // Shows the format in both directions, the empty message included.
        let range = RangeRequest { key: b"k".as_slice().into(), limit: 7, ..Default::default() };
        assert_eq!(outcome(framed(&range.encode_to_vec())).await, Ok(range));
        assert_eq!(outcome(framed(b"")).await, Ok(RangeRequest::default()));
    }

    #[tokio::test]
    async fn malformed_frames_are_refused() {
        // Shows that nothing is taken for a message that is not exactly one.
        let good = framed(&[0x0a, 1, b'k']);
        let cut = good[..good.len() - 1].to_vec();
        let mut compressed = good.clone();
        compressed[0] = 1;
        assert_eq!(outcome(Vec::new()).await, Err(Code::Internal));
        assert_eq!(outcome(cut).await, Err(Code::Internal));
        assert_eq!(outcome([good.clone(), good].concat()).await, Err(Code::Internal));
        assert_eq!(outcome(compressed).await, Err(Code::Unimplemented));
        assert_eq!(outcome(framed(&[0xff, 0xff])).await, Err(Code::Internal));
        assert_eq!(outcome(framed(&[0; LEN_MAX + 1])).await, Err(Code::ResourceExhausted));
    }
}
