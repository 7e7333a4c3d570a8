//! One HTTP/2 connection, for as long as it lasts.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use raft::peer::Purpose;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use super::dial::Stream;
use super::presence::Contact;
use super::{
    CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT,
    SNAPSHOT_KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
};

/// Clones share it. It ends when the last clone and the last stream are gone.
#[derive(Clone)]
pub(super) struct Connection {
    sender: SendRequest<Body>,
    cut: CancellationToken,
    origin: Uri,
    contact: Arc<Contact>,
}

impl Connection {
    /// Starts HTTP/2 on `stream`, which leads to `url`. The future drives it, and resolves with the
    /// reason when it has ended.
    ///
    /// # Errors
    /// What is wrong with `url`, or with the stream.
    pub(super) async fn open(
        stream: Stream,
        url: &str,
        purpose: Purpose,
        contact: Arc<Contact>,
    ) -> Result<(Self, impl Future<Output = String> + use<>), String> {
        let origin = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let cut = CancellationToken::new();
        let tasks = Cuttable { cut: cut.clone() };
        let handshake = builder(tasks, purpose).handshake(TokioIo::new(stream));
        let (sender, driver) = handshake.await.map_err(|error| error.to_string())?;
        let connection = Self { sender, cut: cut.clone(), origin, contact };
        let ended = async move {
            match cut.run_until_cancelled_owned(driver).await {
                None => "it was stuck and is cut".to_owned(),
                Some(Ok(())) => "it was closed".to_owned(),
                Some(Err(error)) => words(&error),
            }
        };
        Ok((connection, ended))
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.cut.is_cancelled()
    }

    /// What requests name as their server.
    pub(super) fn origin(&self) -> Uri {
        self.origin.clone()
    }

    /// Ends it now, with everything that is on it.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }
}

fn builder(tasks: Cuttable, purpose: Purpose) -> Builder<Cuttable> {
    let keepalive_timeout = match purpose {
        Purpose::Snapshot => SNAPSHOT_KEEPALIVE_TIMEOUT,
        Purpose::Replication | Purpose::Liveness | Purpose::Requests => KEEPALIVE_TIMEOUT,
    };
    let mut builder = Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(keepalive_timeout)
        // A way that is gone must be found before it is needed: once the network is back, a new
        // connection is there long before an old one has stopped backing off.
        .keep_alive_while_idle(true);
    builder
}

/// Starts the tasks of one connection, so that all of them can be stopped together.
#[derive(Clone)]
struct Cuttable {
    cut: CancellationToken,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Cuttable {
    fn execute(&self, task: F) {
        tokio::spawn(self.cut.clone().run_until_cancelled_owned(task));
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = SendError;
    type Future = BoxFuture<'static, Result<Response<Incoming>, SendError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.sender.try_send_request(request);
        let contact = self.contact.clone();
        Box::pin(async move {
            let answer = answer.await.map_err(|mut failed| SendError {
                // hyper gives back what it has not begun to send.
                unsent: failed.take_message().is_some(),
                why: words(failed.error()),
            })?;
            contact.answered();
            Ok(answer)
        })
    }
}

/// There is no answer to a request.
#[derive(Clone, Debug)]
pub(super) struct SendError {
    /// Nothing of the request has left.
    pub unsent: bool,
    pub why: String,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for SendError {}

/// The innermost cause says what happened; what is around it says that something did.
fn words(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
