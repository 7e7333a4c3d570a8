//! From the messages of an answer to JSON.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use tonic::Status;

use super::call::{Answer, Answers};
use super::table::Method;
use super::{json, ok, pieces};

/// Messages up to this are translated where they are; larger ones would hold up others.
pub(super) const AT_ONCE_BYTES_MAX: usize = 64 << 10;
/// Answers up to this are translated as a whole, and have a length.
pub(super) const WHOLE_BYTES_MAX: usize = 1 << 20;

/// The answer that has one message.
pub(super) async fn single(method: &Arc<Method>, mut answers: Answers) -> Result<Response, Status> {
    let len = answers.len_of_next().await?;
    if let Some(len) = len.filter(|len| *len > WHOLE_BYTES_MAX) {
        return Ok(ok(pieces::body(method.clone(), answers.into_fields(len))));
    }
    let answer = answers.next().await?;
    let answer = answer.ok_or_else(|| Status::internal("the call has no answer"))?;
    let text = translate(method.clone(), answer, Shape::Plain).await?;
    // An error may still follow.
    match answers.next().await? {
        None => Ok(ok(Body::from(text))),
        Some(_) => Err(Status::internal("the call has two answers")),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Plain,
    Line,
}

pub(super) async fn translate(
    method: Arc<Method>,
    answer: Answer,
    shape: Shape,
) -> Result<Bytes, Status> {
    if answer.message.len() <= AT_ONCE_BYTES_MAX {
        return write(&method, answer, shape);
    }
    let written = tokio::task::spawn_blocking(move || write(&method, answer, shape)).await;
    written.map_err(|_| Status::internal("a task of the server ended before its time"))?
}

fn write(method: &Method, answer: Answer, shape: Shape) -> Result<Bytes, Status> {
    let mut text = Vec::new();
    if shape == Shape::Line {
        text.extend_from_slice(b"{\"result\":");
    }
    json::encode(&method.output, answer.message, &mut text).map_err(Status::internal)?;
    if shape == Shape::Line {
        text.extend_from_slice(b"}\n");
    }
    Ok(text.into())
}
