//! Bodies that count what passes through them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Method;
use super::frames::Frames;
use super::methods::Code;
use crate::steps::{Millis, Steps};

/// What a client sends.
pub(super) struct RequestBody {
    pub(super) inner: Body,
    pub(super) frames: Frames,
    pub(super) method: Arc<Method>,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let (messages, bytes) = self.frames.take(data);
            self.method.received.inc_by(messages);
            self.method.received_bytes.inc_by(bytes);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What the server answers. The call is over when the trailers pass, or when it is dropped without
/// them: the client went away.
pub(super) struct ResponseBody {
    pub(super) inner: Body,
    pub(super) frames: Frames,
    pub(super) call: Call,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            if let Some(data) = frame.data_ref() {
                let (messages, bytes) = self.frames.take(data);
                self.call.method.sent.inc_by(messages);
                self.call.method.sent_bytes.inc_by(bytes);
            } else if let Some(trailers) = frame.trailers_ref() {
                self.call.finish(trailers);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// One call from its start to its status.
pub struct Call {
    method: Arc<Method>,
    start: Instant,
    slow: Duration,
    steps: Steps,
    finished: bool,
}

impl Call {
    /// Counts the start. `slow`: from when on a unary call earns a warning.
    pub(super) fn start(method: Arc<Method>, slow: Duration) -> Self {
        method.started.inc();
        let steps = Steps::current();
        Self { method, start: Instant::now(), slow, steps, finished: false }
    }

    /// What is done within their scope is told if the call takes long.
    pub fn steps(&self) -> Steps {
        self.steps.clone()
    }

    /// One message came whole.
    pub fn received(&self, bytes: usize) {
        self.method.received.inc();
        self.method.received_bytes.inc_by(bytes as u64);
    }

    /// One message goes out whole.
    pub fn sent(&self, bytes: usize) {
        self.method.sent.inc();
        self.method.sent_bytes.inc_by(bytes as u64);
    }

    /// A body that is counted, and ends the call when its trailers pass.
    pub fn around(self, inner: Body) -> Body {
        Body::new(ResponseBody { inner, frames: Frames::default(), call: self })
    }

    /// Ends the call if the headers hold its status.
    pub fn finish(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.end(Code::of(status.to_str().unwrap_or_default()));
        }
    }

    /// Ends a call that was answered as asked.
    pub fn succeed(&mut self) {
        self.end(Code::OK);
    }

    fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let took = self.start.elapsed();
        self.method.finish(code, took.as_secs_f64());
        if self.method.is_unary() && took > self.slow {
            self.method.slow_applies.inc();
            let [_, service, method] = self.method.labels;
            // etcd's words and names: people search for them.
            tracing::warn!(
                took = %Millis(took),
                "expected-duration" = %Millis(self.slow),
                service,
                method,
                code = code.name(),
                steps = %self.steps,
                "apply request took too long"
            );
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::CANCELED);
    }
}
