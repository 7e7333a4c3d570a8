//! Calling a gRPC service of this process, as bytes.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderValue, Request, header};
use http_body_util::BodyExt;
use prost::encoding::{WireType, decode_key, decode_varint};
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

/// Answers that are whole in memory while their clients read them, in KiB. Ranges are not: those
/// come in pieces.
const HELD_KIB_MAX: u32 = 64 << 10;

/// Memory of an answer that waits for its client, given back when it is dropped.
pub(super) type Held = OwnedSemaphorePermit;

/// Clones are one.
#[derive(Clone)]
pub(super) struct Caller {
    services: Router,
    room: Arc<Semaphore>,
    held: Arc<Semaphore>,
}

impl Caller {
    pub(super) fn new(services: Router) -> Self {
        let room = |kib: u32| Arc::new(Semaphore::new(kib as usize));
        Self { services, room: room(ANSWERS_KIB_MAX), held: room(HELD_KIB_MAX) }
    }

    /// What an answer of `bytes` takes of the memory for those that wait for their clients; `None`
    /// if others have it now.
    pub(super) fn try_hold(&self, bytes: usize) -> Option<Held> {
        Arc::clone(&self.held).try_acquire_many_owned(kib(bytes, HELD_KIB_MAX)).ok()
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
                held: self.held.clone(),
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
    held: Arc<Semaphore>,
    deadline: Option<Instant>,
}

/// One message, and the room it takes until it is translated.
pub(super) struct Answer {
    pub(super) message: Bytes,
    pub(super) room: Option<OwnedSemaphorePermit>,
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
                    return Ok(Some(Answer { message, room: room.flatten() }));
                }
            }
            if let Some(frame) = self.take_in().await? {
                return ended(frame);
            }
        }
    }

    /// Waits for memory for a line of `bytes` that waits for its client. `None`: the server ends.
    pub(super) fn hold(&self, bytes: usize) -> impl Future<Output = Option<Held>> + use<> {
        let held = Arc::clone(&self.held);
        async move { held.acquire_many_owned(kib(bytes, HELD_KIB_MAX)).await.ok() }
    }

    /// How long the next message is; `None` if there is none. It is not taken by this.
    ///
    /// # Errors
    /// How the call ended, if not well.
    pub(super) async fn len_of_next(&mut self) -> Result<Option<usize>, Status> {
        while self.received.len() < HEAD_BYTES {
            if let Some(frame) = self.take_in().await? {
                return ended(frame).map(|_| None);
            }
        }
        Ok(Some(frame::announced(&self.received)))
    }

    /// Takes the next message field by field, whatever its size.
    pub(super) fn into_fields(mut self, len: usize) -> Fields {
        self.received.advance(HEAD_BYTES);
        Fields { answers: self, left: len }
    }

    /// Takes in what comes next of the body. The frame that is no data ends it.
    async fn take_in(&mut self) -> Result<Option<http_body::Frame<Bytes>>, Status> {
        let frame = within(self.deadline, self.body.frame()).await?;
        let Some(frame) = frame else {
            return Err(Status::unknown("the call ended without saying how"));
        };
        let frame = frame.map_err(|error| Status::unavailable(error.to_string()))?;
        match frame.into_data() {
            Ok(data) => {
                self.received.extend_from_slice(&data);
                Ok(None)
            }
            Err(frame) => Ok(Some(frame)),
        }
    }
}

/// A message on its way through, of which no more is in memory than what its service gave at once.
pub(super) struct Fields {
    answers: Answers,
    /// Bytes of the message that were not taken yet.
    left: usize,
}

/// The longest tag with the longest length behind it.
const FIELD_HEAD_BYTES_MAX: usize = 20;

impl Fields {
    /// Room for what is in memory already, if that is much; to be kept until the client has it.
    pub(super) fn hold(
        &self,
        bytes_min: usize,
    ) -> impl Future<Output = Option<OwnedSemaphorePermit>> + use<> {
        let bytes = self.answers.received.len();
        let held = Arc::clone(&self.answers.held);
        async move {
            if bytes < bytes_min {
                return None;
            }
            held.acquire_many_owned(kib(bytes, HELD_KIB_MAX)).await.ok()
        }
    }

    /// The next field with its tag, a message of its own; `None` after the last, when the call has
    /// ended well.
    ///
    /// # Errors
    /// How the call ended, if not well.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.left == 0 {
            return match self.answers.next().await? {
                None => Ok(None),
                Some(_) => Err(Status::internal("the call has two answers")),
            };
        }
        self.fill(self.left.min(FIELD_HEAD_BYTES_MAX)).await?;
        let head = self.left.min(self.answers.received.len());
        let len = field_len(&self.answers.received[..head]).filter(|len| *len <= self.left);
        let len = len.ok_or_else(|| Status::internal("the answer is not a message"))?;
        self.fill(len).await?;
        self.left -= len;
        Ok(Some(self.answers.received.split_to(len).freeze()))
    }

    async fn fill(&mut self, len: usize) -> Result<(), Status> {
        while self.answers.received.len() < len {
            if let Some(frame) = self.answers.take_in().await? {
                ended(frame)?;
                return Err(Status::internal("the call ended within its answer"));
            }
        }
        Ok(())
    }
}

/// Bytes of the field whose beginning this is, with its tag; `None` if it is none that berth uses.
pub(super) fn field_len(mut bytes: &[u8]) -> Option<usize> {
    let all = bytes.len();
    let (_, kind) = decode_key(&mut bytes).ok()?;
    let value = match kind {
        WireType::Varint => decode_varint(&mut bytes).map(|_| 0).ok()?,
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => usize::try_from(decode_varint(&mut bytes).ok()?).ok()?,
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    (all - bytes.len()).checked_add(value)
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
    let kib = kib(len, ANSWERS_KIB_MAX);
    if kib == 0 {
        return None;
    }
    Arc::clone(room).acquire_many_owned(kib).await.ok()
}

fn kib(bytes: usize, kib_max: u32) -> u32 {
    u32::try_from(bytes >> 10).unwrap_or(u32::MAX).min(kib_max)
}

async fn within<F: Future>(deadline: Option<Instant>, work: F) -> Result<F::Output, Status> {
    let Some(deadline) = deadline else { return Ok(work.await) };
    let late = || Status::deadline_exceeded("context deadline exceeded");
    if deadline <= Instant::now() {
        return Err(late());
    }
    timeout_at(deadline, work).await.map_err(|_| late())
}
