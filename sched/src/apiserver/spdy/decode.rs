//! Bytes to frames.

use std::io;

use bytes::{Buf, BytesMut};
use tokio_util::codec::Decoder;

use super::headers::Inflate;
use super::{
    CONTROL, CONTROL_BYTES_MAX, FLAG_FIN, Frame, GOAWAY, HEAD_BYTES, HEADERS, PIECE_BYTES_MAX,
    PING, RST_STREAM, SYN_REPLY, SYN_STREAM, VERSION, WINDOW_UPDATE,
};

/// The highest bit of a stream's number says nothing.
const NUMBER: u32 = CONTROL - 1;

/// Reads the frames of one connection. Frames of no concern are passed over. After an error nothing
/// that follows can be read.
pub(in super::super) struct Decode {
    inflate: Inflate,
    data: Option<Data>,
}

/// A data frame that has not come as a whole yet.
struct Data {
    stream: u32,
    bytes_left: usize,
    fin: bool,
}

impl Decode {
    pub(in super::super) fn new() -> Self {
        Self { inflate: Inflate::new(), data: None }
    }

    /// The next piece of a data frame.
    fn piece(&mut self, source: &mut BytesMut) -> Option<Frame> {
        let data = self.data.as_mut()?;
        let length = data.bytes_left.min(source.len()).min(PIECE_BYTES_MAX);
        if length == 0 && data.bytes_left > 0 {
            return None;
        }
        data.bytes_left -= length;
        let (stream, is_over) = (data.stream, data.bytes_left == 0);
        let fin = data.fin && is_over;
        if is_over {
            self.data = None;
        }
        Some(Frame::Data { stream, bytes: source.split_to(length).freeze(), fin })
    }

    /// `None`: it concerns nobody here.
    fn control(&mut self, kind: u16, flags: u8, mut payload: &[u8]) -> io::Result<Option<Frame>> {
        let fin = flags & FLAG_FIN != 0;
        let mut number = || payload.try_get_u32().map_err(|_| bad("a frame is too short"));
        Ok(Some(match kind {
            SYN_STREAM => {
                let stream = number()? & NUMBER;
                // The stream it belongs to, then a priority and a slot.
                number()?;
                payload.try_get_u16().map_err(|_| bad("a frame is too short"))?;
                Frame::SynStream { stream, headers: self.inflate.read(payload)?, fin }
            }
            // Read although nobody asked for them: later blocks refer to them.
            SYN_REPLY | HEADERS => {
                let stream = number()? & NUMBER;
                self.inflate.read(payload)?;
                if kind == HEADERS {
                    return Ok(None);
                }
                Frame::SynReply { stream }
            }
            RST_STREAM => Frame::RstStream { stream: number()? & NUMBER, reason: number()? },
            PING => Frame::Ping { id: number()? },
            GOAWAY => Frame::GoAway,
            WINDOW_UPDATE => {
                Frame::WindowUpdate { stream: number()? & NUMBER, bytes: number()? & NUMBER }
            }
            // Settings, and what the protocol says to pass over.
            _ => return Ok(None),
        }))
    }
}

impl Decoder for Decode {
    type Item = Frame;
    type Error = io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> io::Result<Option<Frame>> {
        loop {
            if self.data.is_some() {
                return Ok(self.piece(source));
            }
            let Some(&head) = source.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
            let [a, b, c, d, flags, length @ ..] = head;
            let first = u32::from_be_bytes([a, b, c, d]);
            let length = length.into_iter().fold(0, |sum, byte| sum << 8 | usize::from(byte));
            if first & CONTROL == 0 {
                source.advance(HEAD_BYTES);
                let fin = flags & FLAG_FIN != 0;
                self.data = Some(Data { stream: first, bytes_left: length, fin });
                continue;
            }
            if u16::from_be_bytes([a & 0x7f, b]) != VERSION {
                return Err(bad("this is not version 3"));
            }
            if length > CONTROL_BYTES_MAX {
                return Err(bad("a control frame is too long"));
            }
            if source.len() < HEAD_BYTES + length {
                source.reserve(HEAD_BYTES + length - source.len());
                return Ok(None);
            }
            let frame = source.split_to(HEAD_BYTES + length);
            let kind = u16::from_be_bytes([c, d]);
            if let Some(frame) = self.control(kind, flags, &frame[HEAD_BYTES..])? {
                return Ok(Some(frame));
            }
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("SPDY: {what}"))
}
