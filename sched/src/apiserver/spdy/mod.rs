//! SPDY/3.1 framing, the side of a server: several streams of bytes in one connection.
//!
//! Browsers have forgotten it, but kubectl before 1.30 knows no other way to `exec`. Frames are
//! told apart and made here, header blocks inflated and parsed; what the streams are for is not
//! known. It must never panic on what a client sends, nor keep more of it than the bounds below.
//!
//! Start at [`Frame`]; `decode.rs` reads them, `encode.rs` writes them, `headers.rs` has the block
//! of headers and its dictionary. The words are those of the third draft of the protocol
//! (`draft-mbelshe-httpbis-spdy-00`, and the windows of 3.1).

mod decode;
mod encode;
#[cfg(any(test, feature = "fuzz"))]
pub(super) mod fuzz;
mod headers;

use bytes::Bytes;

pub(super) use decode::Decode;
pub(super) use encode::Encode;
pub(super) use headers::Headers;

/// A control frame's payload. Data frames are handed on in pieces and may be as long as they like.
const CONTROL_BYTES_MAX: usize = 16 << 10;
/// A piece of a data frame.
const PIECE_BYTES_MAX: usize = 32 << 10;

const VERSION: u16 = 3;
const HEAD_BYTES: usize = 8;
const CONTROL: u32 = 1 << 31;
const FLAG_FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// Why a stream is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    InvalidStream = 2,
    Refused = 3,
}

/// What one side tells the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    SynStream {
        stream: u32,
        headers: Headers,
        /// Whether this side of the stream ends here.
        fin: bool,
    },
    SynReply {
        stream: u32,
    },
    Data {
        stream: u32,
        bytes: Bytes,
        fin: bool,
    },
    RstStream {
        stream: u32,
        /// A [`Reason`], or another number of the protocol.
        reason: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// More may be sent: on a stream, or with 0 on the connection.
    WindowUpdate {
        stream: u32,
        bytes: u32,
    },
}

#[cfg(test)]
mod tests;
