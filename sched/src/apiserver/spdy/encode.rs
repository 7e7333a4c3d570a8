//! Frames to bytes.

use std::io;

use bytes::{BufMut, BytesMut};
use tokio_util::codec::Encoder;

use super::headers::Deflate;
use super::{
    CONTROL, FLAG_FIN, Frame, GOAWAY, Headers, PING, RST_STREAM, SYN_REPLY, SYN_STREAM, VERSION,
    WINDOW_UPDATE,
};

/// What a length of 24 bits can say.
const LENGTH_MAX: usize = (1 << 24) - 1;

/// Writes the frames of one connection.
pub(in super::super) struct Encode {
    deflate: Deflate,
}

impl Encode {
    pub(in super::super) fn new() -> Self {
        Self { deflate: Deflate::new() }
    }
}

impl Encoder<Frame> for Encode {
    type Error = io::Error;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> io::Result<()> {
        match frame {
            Frame::SynStream { stream, headers, fin } => {
                let mut payload = numbers(&[stream, 0]);
                payload.extend([0, 0]);
                payload.extend(self.deflate.write(&headers)?);
                control(out, SYN_STREAM, u8::from(fin) * FLAG_FIN, &payload)
            }
            Frame::SynReply { stream } => {
                let mut payload = numbers(&[stream]);
                payload.extend(self.deflate.write(&Headers::new())?);
                control(out, SYN_REPLY, 0, &payload)
            }
            Frame::Data { stream, bytes, fin } => {
                head(out, stream, u8::from(fin) * FLAG_FIN, bytes.len())?;
                out.put_slice(&bytes);
                Ok(())
            }
            Frame::RstStream { stream, reason } => {
                control(out, RST_STREAM, 0, &numbers(&[stream, reason]))
            }
            Frame::Ping { id } => control(out, PING, 0, &numbers(&[id])),
            // No stream of this side is open, and all is well.
            Frame::GoAway => control(out, GOAWAY, 0, &numbers(&[0, 0])),
            Frame::WindowUpdate { stream, bytes } => {
                control(out, WINDOW_UPDATE, 0, &numbers(&[stream, bytes]))
            }
        }
    }
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn control(out: &mut BytesMut, kind: u16, flags: u8, payload: &[u8]) -> io::Result<()> {
    let first = CONTROL | u32::from(VERSION) << 16 | u32::from(kind);
    head(out, first, flags, payload.len())?;
    out.put_slice(payload);
    Ok(())
}

fn head(out: &mut BytesMut, first: u32, flags: u8, length: usize) -> io::Result<()> {
    let length = u32::try_from(length).ok().filter(|_| length <= LENGTH_MAX);
    let length = length.ok_or_else(|| io::Error::other("a frame is longer than SPDY can say"))?;
    out.reserve(super::HEAD_BYTES + length as usize);
    out.put_u32(first);
    out.put_u32(u32::from(flags) << 24 | length);
    Ok(())
}
