//! Lets in clients whose `:authority` is a URL.
//!
//! etcd's client before 3.5, and so etcdctl 3.4, sends `:authority: http://host:port` when it is
//! given an endpoint with its scheme. grpc-go does not mind; our HTTP/2 library resets the stream
//! before anybody sees the request, and cannot be told not to. So the bytes of a connection pass
//! through here first: in HEADERS frames, `http://` in that field becomes `httpB--`, which is a
//! host name as good as any for a server that has but one. The replacement has the same length
//! both as text and in HPACK's code, so neither frames nor compression tables change.
//!
//! Everything else passes as it came; what is no HTTP/2 is not looked at. [`header_block`] knows
//! the fields, this file the frames (RFC 9113, sections 3.4, 4.1, 6.2).

mod header_block;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;
const TYPE_HEADERS: u8 = 1;
const FLAG_PADDED: u8 = 0x8;
const FLAG_PRIORITY: u8 = 0x20;
/// Longer header blocks pass unseen: nothing that long is let in by the library either.
const HEADERS_BYTES_MAX: usize = 64 << 10;
const READ_BYTES: usize = 16 << 10;

/// Mends the header blocks of one connection on their way in.
#[derive(Default)]
pub struct Mending {
    scanner: Scanner,
    ended: bool,
}

impl Mending {
    /// Reads from `inner`; as [`AsyncRead::poll_read`].
    pub fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        inner: &mut S,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.scanner.ready == 0 && !self.ended {
            let received = &mut self.scanner.received;
            received.reserve(READ_BYTES);
            let count = ready!(poll_read_buf(Pin::new(&mut *inner), context, received))?;
            self.ended = count == 0;
            self.scanner.scan();
        }
        if self.ended {
            // What is there is cut short; the library says so better.
            self.scanner.ready = self.scanner.received.len();
        }
        self.scanner.give(out);
        Poll::Ready(Ok(()))
    }
}

/// Follows the frames of one connection.
#[derive(Default)]
struct Scanner {
    /// Received and not yet given on.
    received: BytesMut,
    /// How much of it may be given on. What is behind is part of something that must be seen whole.
    ready: usize,
    /// Bytes still to come that need no look.
    skip: usize,
    phase: Phase,
}

#[derive(Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Preface,
    Frames,
    /// Not HTTP/2.
    Other,
}

impl Scanner {
    fn scan(&mut self) {
        while self.step() {}
    }

    /// True if there may be more to do.
    fn step(&mut self) -> bool {
        let pass = self.skip.min(self.received.len() - self.ready);
        self.ready += pass;
        self.skip -= pass;
        let fresh = &mut self.received[self.ready..];
        match self.phase {
            _ if fresh.is_empty() => return false,
            Phase::Other => self.skip = fresh.len(),
            Phase::Preface => {
                let known = fresh.len().min(PREFACE.len());
                if fresh[..known] != PREFACE[..known] {
                    self.phase = Phase::Other;
                } else if known == PREFACE.len() {
                    self.phase = Phase::Frames;
                    self.skip = PREFACE.len();
                } else {
                    return false;
                }
            }
            Phase::Frames => match frame_len(fresh) {
                Some((whole, true)) if whole <= fresh.len() => {
                    mend_headers(&mut fresh[..whole]);
                    self.skip = whole;
                }
                Some((whole, true)) if whole <= HEADERS_BYTES_MAX => return false,
                Some((whole, _)) => self.skip = whole,
                None => return false,
            },
        }
        true
    }

    fn give(&mut self, out: &mut ReadBuf<'_>) {
        let count = self.ready.min(out.remaining());
        out.put_slice(&self.received[..count]);
        self.received.advance(count);
        self.ready -= count;
    }
}

/// Bytes of the frame that begins here, its head included, and whether it is a HEADERS frame;
/// `None`: the head is not there yet.
fn frame_len(bytes: &[u8]) -> Option<(usize, bool)> {
    let head = bytes.get(..FRAME_HEAD_BYTES)?;
    let len = head[..3].iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    Some((FRAME_HEAD_BYTES + len, head[3] == TYPE_HEADERS))
}

/// Mends the header block inside a whole HEADERS frame, or the part of it that is in there.
fn mend_headers(frame: &mut [u8]) {
    let flags = frame[4];
    let mut start = FRAME_HEAD_BYTES;
    if flags & FLAG_PADDED != 0 {
        start += 1;
    }
    if flags & FLAG_PRIORITY != 0 {
        start += 5;
    }
    if let Some(block) = frame.get_mut(start..) {
        header_block::mend(block);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    struct Mended(DuplexStream, Mending);

    impl AsyncRead for Mended {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let Mended(inner, mending) = self.get_mut();
            mending.poll_read(inner, context, out)
        }
    }

    /// A literal `:authority` without Huffman code.
    fn block(value: &str) -> Vec<u8> {
        let len = u8::try_from(value.len()).unwrap();
        [&[0x83, 0x41, len], value.as_bytes()].concat()
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// What comes out of a connection that `sent` comes into, in pieces of `piece` bytes.
    async fn through(sent: &[u8], piece: usize) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(piece);
        let sent = sent.to_vec();
        let sending = tokio::spawn(async move {
            for part in sent.chunks(piece) {
                client.write_all(part).await.unwrap();
                client.flush().await.unwrap();
            }
        });
        let mut received = Vec::new();
        Mended(server, Mending::default()).read_to_end(&mut received).await.unwrap();
        sending.await.unwrap();
        received
    }

    #[tokio::test]
    async fn only_the_authority_changes_however_the_bytes_are_cut() {
        // Shows that every frame arrives whole and in order, and that data which looks like the
        // field is left alone.
        let with = |value: &str| {
            let data = frame(0, 0, &block("http://data"));
            let padded = [&[4][..], &block(value), &[0; 4]].concat();
            let prioritised = [&[0; 5][..], &block(value)].concat();
            let frames = [
                frame(4, 0, &[]),
                frame(TYPE_HEADERS, 4, &block(value)),
                data.clone(),
                frame(TYPE_HEADERS, 4 | FLAG_PADDED, &padded),
                frame(TYPE_HEADERS, 4 | FLAG_PRIORITY, &prioritised),
                data,
            ];
            [PREFACE.to_vec(), frames.concat()].concat()
        };
        let (sent, expected) = (with("http://127.0.0.1:2379"), with("httpB--127.0.0.1:2379"));
        for piece in [1, 2, 7, 23, 100, 4096] {
            assert_eq!(through(&sent, piece).await, expected, "{piece}");
        }
    }

    #[tokio::test]
    async fn what_is_no_http2_passes() {
        // Shows that HTTP/1 and connections that end early are not touched.
        let http1 = b"POST /v3/kv/range HTTP/1.1\r\nhost: http://x\r\n\r\n".to_vec();
        assert_eq!(through(&http1, 5).await, http1);
        let cut = [PREFACE, &frame(TYPE_HEADERS, 4, &block("http://x"))[..14]].concat();
        assert_eq!(through(&cut, 6).await, cut);
        assert_eq!(through(&PREFACE[..10], 3).await, &PREFACE[..10]);
    }
}
