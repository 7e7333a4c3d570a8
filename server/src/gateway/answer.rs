//! From the messages of an answer to JSON.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use tonic::Status;

use super::call::{Answer, Answers};
use super::table::Method;
use super::{error, json, ok, pieces};

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

/// A line for each message, as it comes; if it ends with an error, that is the last one. Nothing is
/// answered before the first line: its kind is the status.
pub(super) async fn stream(method: Arc<Method>, answers: Answers) -> Response {
    let mut lines = Lines { method, answers };
    let first = match lines.next().await {
        Ok(Some(line)) => line,
        Ok(None) => return ok(Body::empty()),
        Err(status) => return error::of_stream(&status),
    };
    let rest = stream::unfold(Some(lines), |lines| async {
        let mut lines = lines?;
        match lines.next().await {
            Ok(Some(line)) => Some((line, Some(lines))),
            Ok(None) => None,
            Err(status) => Some((format!("{}\n", error::in_stream(&status)).into(), None)),
        }
    });
    let all = futures::StreamExt::chain(stream::iter([first]), rest);
    ok(Body::from_stream(futures::StreamExt::map(all, Ok::<_, std::convert::Infallible>)))
}

struct Lines {
    method: Arc<Method>,
    answers: Answers,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(answer) = self.answers.next().await? else { return Ok(None) };
        translate(self.method.clone(), answer, Shape::Line).await.map(Some)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Plain,
    Line,
}

async fn translate(method: Arc<Method>, answer: Answer, shape: Shape) -> Result<Bytes, Status> {
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
