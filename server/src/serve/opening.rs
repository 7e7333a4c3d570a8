//! How long a connection may stay silent before it says anything.
//!
//! The library waits for ever for the bytes that tell HTTP/1 from HTTP/2. Whoever connects and says
//! nothing would hold a file and a task for nothing, and files are few.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Bytes after which a connection has begun: HTTP/2's preface (RFC 9113, section 3.4). From there on
/// HTTP/1 and HTTP/2 have time limits of their own.
const OPENING_BYTES: usize = 24;

/// A connection that fails unless its opening comes in time. One that was answered has begun too,
/// however short its request was.
pub(super) struct Opening<S> {
    inner: S,
    left_bytes: usize,
    /// `None`: the connection has begun.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Opening<S> {
    pub(super) fn new(inner: S, time_max: Duration) -> Self {
        Self { inner, left_bytes: OPENING_BYTES, deadline: Some(Box::pin(sleep(time_max))) }
    }

    fn received(&mut self, bytes: usize) {
        self.left_bytes = self.left_bytes.saturating_sub(bytes);
        if self.left_bytes == 0 {
            self.deadline = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(context, out);
        if polled.is_ready() {
            this.received(out.filled().len() - before);
            return polled;
        }
        let Some(deadline) = &mut this.deadline else { return Poll::Pending };
        deadline.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.deadline = None;
        Pin::new(&mut this.inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.deadline = None;
        Pin::new(&mut this.inner).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn silence_and_a_crawl_end_the_connection() {
        // Proves that neither nothing nor a few bytes keep a connection that never begins.
        for sent in [0, 1, OPENING_BYTES - 1] {
            let (mut client, server) = duplex(64);
            let mut opening = Opening::new(server, SHORT);
            client.write_all(&vec![b'P'; sent]).await.unwrap();
            let mut received = Vec::new();
            let error = opening.read_to_end(&mut received).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert_eq!(received.len(), sent);
        }
    }

    #[tokio::test]
    async fn a_connection_that_has_begun_may_be_idle() {
        // Proves that the limit ends with the opening, and with an answer to a shorter one.
        for (sent, answered) in [(OPENING_BYTES, false), (1, true)] {
            let (mut client, server) = duplex(64);
            let mut opening = Opening::new(server, SHORT);
            client.write_all(&vec![b'P'; sent]).await.unwrap();
            opening.read_exact(&mut vec![0; sent]).await.unwrap();
            if answered {
                opening.write_all(b"answer").await.unwrap();
            }
            let idle = tokio::time::timeout(10 * SHORT, opening.read_u8()).await;
            idle.expect_err("it waits on");
        }
    }
}
