//! A connection's bytes, between the socket (or TLS) and HTTP.
//!
//! Four things happen here, in one place because each byte passes it: whoever connects and says
//! nothing is let go, the header blocks of old clients are mended, answers that become ready
//! together leave together, and what is long comes and goes in turns with that of others.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

use crate::grpc::Mending;

/// Bytes after which a connection has begun: HTTP/2's preface (RFC 9113, section 3.4). From there on
/// HTTP/1 and HTTP/2 have time limits of their own.
const OPENING_BYTES: usize = 24;
/// How that preface begins, and no request of HTTP/1 does.
const PREFACE: &[u8] = b"PRI ";

/// From here on there is enough to write at once.
const GATHERED_BYTES_MAX: usize = 8 << 10;
/// So much is written, or read, before others have their turn: some tens of microseconds of the
/// kernel's time.
const TURN_BYTES: usize = 64 << 10;

/// A connection that fails unless its opening comes in time.
pub(super) struct Wire<S> {
    inner: S,
    mending: Option<Mending>,
    opening: Opening,
    gathering: Gathering,
    reading: Turn,
    writing: Turn,
    /// The place it takes until it is closed: a WebSocket outlives the HTTP that it began with.
    _room: Option<OwnedSemaphorePermit>,
}

impl<S> Wire<S> {
    /// `time_max`: how long its first bytes may take.
    pub(super) fn new(inner: S, room: Option<OwnedSemaphorePermit>, time_max: Duration) -> Self {
        Self {
            inner,
            mending: None,
            opening: Opening::new(time_max),
            gathering: Gathering::default(),
            reading: Turn::default(),
            writing: Turn::default(),
            _room: room,
        }
    }

    /// With the header blocks of old clients mended.
    pub(super) fn mended(self) -> Self {
        Self { mending: Some(Mending::default()), ..self }
    }
}

/// How long a connection may stay silent before it says anything.
///
/// The library waits for ever for the bytes that tell HTTP/1 from HTTP/2. Whoever connects and says
/// nothing would hold a file and a task for nothing, and files are few.
struct Opening {
    left_bytes: usize,
    /// `None`: the connection has begun.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Opening {
    fn new(time_max: Duration) -> Self {
        Self { left_bytes: OPENING_BYTES, deadline: Some(Box::pin(sleep(time_max))) }
    }

    fn is_new(&self) -> bool {
        self.left_bytes == OPENING_BYTES
    }

    fn received(&mut self, bytes: usize) {
        self.left_bytes = self.left_bytes.saturating_sub(bytes);
        if self.left_bytes == 0 {
            self.deadline = None;
        }
    }

    /// One that was answered has begun too, however short its request was.
    fn answered(&mut self) {
        self.deadline = None;
    }

    fn expired(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(deadline) = &mut self.deadline else { return Poll::Pending };
        deadline.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Answers that become ready together leave together.
///
/// One write of the log answers many calls, and each wakes its connection. A connection that wrote
/// at once would write as often as it has answers; so before each write it goes once to the end of
/// the queue of tasks, behind the calls that have answers to add.
///
/// HTTP/1 has one answer at a time, and a client that sends no more must have it at once.
#[derive(Default)]
struct Gathering {
    is_http2: bool,
    has_waited: bool,
}

impl Gathering {
    /// Whether `parts` may be written now; if not, the task is woken again.
    fn poll(&mut self, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<()> {
        let is_short = || parts.iter().map(|part| part.len()).sum::<usize>() < GATHERED_BYTES_MAX;
        if self.is_http2 && !self.has_waited && is_short() {
            self.has_waited = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn written(&mut self) {
        self.has_waited = false;
    }
}

/// How much has passed one way since others had their turn.
///
/// HTTP/2 writes as long as the client's window and the socket take more, megabytes of a large
/// answer, and reads as long as there is something of a large request: a short call of somebody else
/// would wait for all of it.
#[derive(Default)]
struct Turn {
    passed_bytes: usize,
}

impl Turn {
    /// Whether more may pass now; if not, the task is woken again, behind the others.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.passed_bytes < TURN_BYTES {
            return Poll::Ready(());
        }
        self.passed_bytes = 0;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn passed(&mut self, bytes: usize) {
        self.passed_bytes += bytes;
    }

    /// Nothing more is there: whoever comes next begins anew.
    fn over(&mut self) {
        self.passed_bytes = 0;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.reading.poll(context));
        let before = out.filled().len();
        let polled = match &mut this.mending {
            Some(mending) => mending.poll_read(&mut this.inner, context, out),
            None => Pin::new(&mut this.inner).poll_read(context, out),
        };
        if polled.is_ready() {
            let fresh = &out.filled()[before..];
            this.gathering.is_http2 |= this.opening.is_new() && fresh.starts_with(PREFACE);
            this.opening.received(fresh.len());
            this.reading.passed(fresh.len());
            return polled;
        }
        this.reading.over();
        this.opening.expired(context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.opening.answered();
        ready!(this.gathering.poll(context, parts));
        ready!(this.writing.poll(context));
        let written = ready!(Pin::new(&mut this.inner).poll_write_vectored(context, parts));
        this.gathering.written();
        if let Ok(bytes) = written {
            this.writing.passed(bytes);
        }
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    /// How often a task was woken.
    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn silence_and_a_crawl_end_the_connection() {
        // Proves that neither nothing nor a few bytes keep a connection that never begins.
        for sent in [0, 1, OPENING_BYTES - 1] {
            let (mut client, server) = duplex(64);
            let mut opening = Wire::new(server, None, SHORT);
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
            let mut opening = Wire::new(server, None, SHORT);
            client.write_all(&vec![b'P'; sent]).await.unwrap();
            opening.read_exact(&mut vec![0; sent]).await.unwrap();
            if answered {
                opening.write_all(b"answer").await.unwrap();
            }
            let idle = tokio::time::timeout(10 * SHORT, opening.read_u8()).await;
            idle.expect_err("it waits on");
        }
    }

    #[tokio::test]
    async fn a_long_answer_leaves_in_turns() {
        // Proves that one who writes on and on is put behind the others after so many bytes, that it
        // is woken for the rest, and that everything arrives.
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        let mut wire = Wire::new(Vec::new(), None, SHORT);
        let (piece, mut pauses) = (vec![7; TURN_BYTES / 4], 0);
        for _ in 0..12 {
            while Pin::new(&mut wire).poll_write(&mut context, &piece).is_pending() {
                pauses += 1;
            }
        }
        let woken = wakes.0.load(Ordering::Relaxed);
        assert_eq!((pauses, woken), (2, 2), "after the fourth piece and the eighth");
        assert_eq!(wire.inner.len(), 12 * piece.len());
    }

    #[tokio::test]
    async fn a_long_request_comes_in_turns() {
        // Proves the same of one who is read from on and on; and that a connection which had nothing
        // to say for a moment begins anew.
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        let (mut client, server) = duplex(TURN_BYTES);
        let mut wire = Wire::new(server, None, SHORT);
        let mut space = vec![0; TURN_BYTES / 4];
        let mut read = |wire: &mut Wire<_>| {
            let mut out = ReadBuf::new(&mut space);
            let polled = Pin::new(wire).poll_read(&mut context, &mut out);
            polled.is_ready().then_some(out.filled().len())
        };
        let woken = || wakes.0.load(Ordering::Relaxed);
        for _ in 0..3 {
            client.write_all(&[7; TURN_BYTES / 4]).await.unwrap();
            assert_eq!(read(&mut wire), Some(TURN_BYTES / 4));
        }
        assert_eq!(read(&mut wire), None, "there is nothing, and it begins anew");
        assert_eq!(woken(), 0);
        client.write_all(&[7; TURN_BYTES]).await.unwrap();
        let pieces: Vec<_> = (0..4).map(|_| read(&mut wire)).collect();
        assert_eq!(pieces, [Some(TURN_BYTES / 4); 4]);
        client.write_all(&[7]).await.unwrap();
        let before = woken();
        assert_eq!(read(&mut wire), None, "it is the others' turn");
        assert_eq!(woken(), before + 1);
        assert_eq!(read(&mut wire), Some(1));
    }
}
