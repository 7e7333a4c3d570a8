//! From the JSON that comes in to the messages of a call.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use tonic::Status;

use super::json;
use super::table::Method;
use super::values::Scanner;
use crate::grpc::frame;

/// JSON values, one after the other.
pub(super) struct Messages {
    pieces: BoxStream<'static, Result<Bytes, axum::Error>>,
    /// A value does not go on in the next piece; the last piece may never come.
    whole: bool,
    /// What has come in and was not taken yet.
    text: BytesMut,
    /// How much of `text` the scanner has seen.
    seen: usize,
    scanner: Scanner,
    value_bytes_max: usize,
}

impl Messages {
    /// Those of an HTTP body.
    pub(super) fn of_body(body: Body, value_bytes_max: usize) -> Self {
        Self::new(body.into_data_stream().boxed(), false, value_bytes_max)
    }

    /// Those of a WebSocket, which ends when the answer does.
    pub(super) fn of_pieces(
        pieces: BoxStream<'static, Result<Bytes, axum::Error>>,
        value_bytes_max: usize,
    ) -> Self {
        Self::new(pieces, true, value_bytes_max)
    }

    fn new(
        pieces: BoxStream<'static, Result<Bytes, axum::Error>>,
        whole: bool,
        value_bytes_max: usize,
    ) -> Self {
        let (text, scanner) = (BytesMut::new(), Scanner::default());
        Self { pieces, whole, text, seen: 0, scanner, value_bytes_max }
    }

    /// The text of the next value, if there is one.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(end) = self.scanner.take(&self.text[self.seen..]) {
                return Ok(Some(self.split(self.seen + end)));
            }
            self.seen = self.text.len();
            if self.text.len() > self.value_bytes_max {
                return Err(too_large(self.text.len(), self.value_bytes_max));
            }
            if self.whole && !self.text.trim_ascii().is_empty() {
                return Ok(Some(self.split(self.seen)));
            }
            match self.pieces.next().await {
                Some(Ok(piece)) => self.text.extend_from_slice(&piece),
                // A body that breaks off has no more values; nobody is there to be told.
                Some(Err(error)) => return Err(Status::cancelled(error.to_string())),
                None if self.text.trim_ascii().is_empty() => return Ok(None),
                None => return Ok(Some(self.split(self.seen))),
            }
        }
    }

    fn split(&mut self, at: usize) -> Bytes {
        self.seen = 0;
        self.scanner = Scanner::default();
        self.text.split_to(at).freeze()
    }

    /// Takes in what follows the one value that a call has, so that the connection can go on.
    async fn drain(mut self) {
        let mut left = self.value_bytes_max;
        while !self.whole && left > 0 {
            let Some(Ok(piece)) = self.pieces.next().await else { return };
            left = left.saturating_sub(piece.remaining());
        }
    }
}

/// The request messages of a call, framed. The first is there by then: what is wrong with it is the
/// answer.
pub(super) async fn requests(method: &Arc<Method>, mut messages: Messages) -> Result<Body, Status> {
    let first = messages.next().await?;
    if !method.many_requests {
        let message = request(method, &first.unwrap_or_default())?;
        messages.drain().await;
        return Ok(Body::from(message));
    }
    let Some(first) = first else { return Ok(Body::empty()) };
    let first = request(method, &first)?;
    let method = method.clone();
    let rest = stream::unfold(messages, move |mut messages| {
        let method = method.clone();
        async move {
            // Whatever is wrong with a later one ends the requests, and the answers go on.
            let text = messages.next().await.ok()??;
            Some((request(&method, &text).ok()?, messages))
        }
    });
    let all = stream::iter([first]).chain(rest).map(Ok::<_, std::convert::Infallible>);
    Ok(Body::from_stream(all))
}

fn request(method: &Method, text: &[u8]) -> Result<Bytes, Status> {
    let message = json::decode(&method.input, text).map_err(Status::invalid_argument)?;
    let mut framed = BytesMut::with_capacity(frame::HEAD_BYTES + message.len());
    frame::put_head(&mut framed, message.len());
    framed.extend_from_slice(&message);
    Ok(framed.freeze())
}

/// Before it is a message, its size is not known; so this counts JSON.
fn too_large(len: usize, len_max: usize) -> Status {
    Status::resource_exhausted(format!(
        "grpc: received message larger than max ({len} vs. {len_max})"
    ))
}
