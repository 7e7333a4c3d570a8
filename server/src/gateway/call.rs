//! Calling a gRPC service of this process, as bytes.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderValue, Request, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tower::ServiceExt;

use super::metadata::Metadata;
use super::table::Method;
use crate::grpc::frame::{self, HEAD_BYTES};

/// Answers that are translated at a time, in KiB. Each takes several times its size in memory; one
/// that is larger than all of this waits until it is alone.
const ANSWERS_KIB_MAX: u32 = 64 << 10;

/// Clones are one.
#[derive(Clone)]
pub(super) struct Caller {
    services: Router,
    room: Arc<Semaphore>,
}

impl Caller {
    pub(super) fn new(services: Router) -> Self {
        Self { services, room: Arc::new(Semaphore::new(ANSWERS_KIB_MAX as usize)) }
    }

    /// Calls `method` with framed messages. What the service refuses at once is the error.
    pub(super) async fn call(
        &self,
        method: &Method,
        metadata: Metadata,
        messages: Body,
    ) -> Result<Answers, Status> {
        let mut request = Request::post(&method.grpc_path).body(messages);
        let request = request.as_mut().map_err(|error| Status::internal(error.to_string()))?;
        *request.headers_mut() = metadata.headers;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        let request = std::mem::take(request);
        let deadline = metadata.timeout.and_then(|time| Instant::now().checked_add(time));
        let response = within(deadline, self.services.clone().oneshot(request)).await?;
        let Ok(response) = response;
        match Status::from_header_map(response.headers()) {
            Some(status) if status.code() != tonic::Code::Ok => Err(status),
            _ => Ok(Answers {
                body: response.into_body(),
                received: BytesMut::new(),
                room: self.room.clone(),
                deadline,
            }),
        }
    }
}

/// What a service answers.
pub(super) struct Answers {
    body: Body,
    received: BytesMut,
    room: Arc<Semaphore>,
    deadline: Option<Instant>,
}

/// One message, and the room it takes until it is translated.
pub(super) struct Answer {
    pub(super) message: Bytes,
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

impl Answers {
    /// The next message; `None` after the last.
    ///
    /// # Errors
    /// How the call ended, if not well.
    pub(super) async fn next(&mut self) -> Result<Option<Answer>, Status> {
        let mut room = None;
        loop {
            if self.received.len() >= HEAD_BYTES {
                let len = frame::announced(&self.received);
                if room.is_none() {
                    room = Some(within(self.deadline, reserve(&self.room, len)).await?);
                }
                if self.received.len() >= HEAD_BYTES + len {
                    self.received.advance(HEAD_BYTES);
                    let message = self.received.split_to(len).freeze();
                    return Ok(Some(Answer { message, _room: room.flatten() }));
                }
            }
            let frame = within(self.deadline, self.body.frame()).await?;
            let Some(frame) = frame else {
                return Err(Status::unknown("the call ended without saying how"));
            };
            let frame = frame.map_err(|error| Status::unavailable(error.to_string()))?;
            match frame.into_data() {
                Ok(data) => self.received.extend_from_slice(&data),
                Err(frame) => return ended(frame),
            }
        }
    }
}

fn ended(frame: http_body::Frame<Bytes>) -> Result<Option<Answer>, Status> {
    let status = frame.into_trailers().ok().and_then(|told| Status::from_header_map(&told));
    match status {
        Some(status) if status.code() == tonic::Code::Ok => Ok(None),
        Some(status) => Err(status),
        None => Err(Status::unknown("the call ended without saying how")),
    }
}

/// Small answers need none.
async fn reserve(room: &Arc<Semaphore>, len: usize) -> Option<OwnedSemaphorePermit> {
    let kib = u32::try_from(len >> 10).unwrap_or(u32::MAX).min(ANSWERS_KIB_MAX);
    if kib == 0 {
        return None;
    }
    Arc::clone(room).acquire_many_owned(kib).await.ok()
}

async fn within<F: Future>(deadline: Option<Instant>, work: F) -> Result<F::Output, Status> {
    let Some(deadline) = deadline else { return Ok(work.await) };
    let late = || Status::deadline_exceeded("context deadline exceeded");
    if deadline <= Instant::now() {
        return Err(late());
    }
    timeout_at(deadline, work).await.map_err(|_| late())
}
