//! Answers of many messages: a line of JSON for each, as it comes.
//!
//! A line that is large stays in memory until its client has taken it, so it is counted with all that
//! wait for their clients ([`Caller::hold`](super::call::Caller)); who takes too long is cut off.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;

use super::answer::{AT_ONCE_BYTES_MAX, Shape, translate};
use super::call::{Answers, Held};
use super::table::Method;
use super::{error, ok};

/// How long a line may wait until there is memory for it.
const ROOM_MAX: Duration = Duration::from_secs(5);
/// How long a client may take for a line that is counted.
const COUNTED_LINE_MAX: Duration = Duration::from_secs(600);
/// Pieces of a line that are made before the client takes them.
const AHEAD: usize = 1;

/// A line for each message; if it ends with an error, that is the last one. Nothing is answered
/// before the first line: its kind is the status.
///
/// `counts`: whoever takes the lines does not count them.
pub(super) async fn stream(method: Arc<Method>, answers: Answers, counts: bool) -> Response {
    let mut lines = Lines { method, answers, counts };
    let first = match lines.next().await {
        Ok(Some(line)) => line,
        Ok(None) => return ok(Body::empty()),
        Err(status) => return error::of_stream(&status),
    };
    let (tx, rx) = mpsc::channel(AHEAD);
    let pumping = tokio::spawn(pump(first, lines, tx));
    ok(Body::from_stream(stream::unfold(Some((rx, pumping)), async |state| {
        let (mut rx, pumping) = state?;
        if let Some(piece) = rx.recv().await {
            return Some((Ok(piece), Some((rx, pumping))));
        }
        match pumping.await {
            Ok(Ending::Whole) => None,
            // It breaks off: what has come must not look whole.
            Ok(Ending::CutOff) | Err(_) => {
                Some((Err(std::io::Error::other("the client took too long")), None))
            }
        }
    })))
}

type Piece = Bytes;

/// How an answer ends.
enum Ending {
    Whole,
    CutOff,
}

/// A line, and what counts it; `None` for a small one.
struct Line {
    text: Bytes,
    held: Option<Held>,
}

struct Lines {
    method: Arc<Method>,
    answers: Answers,
    counts: bool,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Line>, Status> {
        let Some(mut answer) = self.answers.next().await? else { return Ok(None) };
        // Before it is a line: two thirds more is what base64 and names make of a large message.
        let bytes = answer.message.len() / 3 * 5;
        let mut held = None;
        if self.counts && bytes > AT_ONCE_BYTES_MAX {
            // Others may translate meanwhile.
            answer.room = None;
            held = Some(in_time(self.answers.hold(bytes)).await?);
        }
        let text = translate(self.method.clone(), answer, Shape::Line).await?;
        Ok(Some(Line { text, held }))
    }
}

/// Waits for memory, for a while.
async fn in_time(hold: impl Future<Output = Option<Held>>) -> Result<Held, Status> {
    let full = || {
        Status::resource_exhausted(
            "berth: too much waits for clients of the gateway that do not read: ask again from the \
             next revision",
        )
    };
    timeout(ROOM_MAX, hold).await.ok().flatten().ok_or_else(full)
}

/// Sends all lines, until the client has gone or took too long; its answer then breaks off.
async fn pump(first: Line, mut lines: Lines, tx: mpsc::Sender<Piece>) -> Ending {
    let mut next = Some(first);
    while let Some(line) = next {
        let is_counted = line.held.is_some();
        let sending = send(line, &tx);
        let sent = match is_counted {
            true => timeout(COUNTED_LINE_MAX, sending).await.unwrap_or(None),
            false => sending.await,
        };
        if sent.is_none() {
            return Ending::CutOff;
        }
        next = tokio::select! {
            line = lines.next() => match line {
                Ok(line) => line,
                Err(status) => {
                    let last = format!("{}\n", error::in_stream(&status));
                    let _ = send(Line { text: last.into(), held: None }, &tx).await;
                    return Ending::Whole;
                }
            },
            () = tx.closed() => return Ending::CutOff,
        };
    }
    Ending::Whole
}

/// In pieces of their own, so that what is left of the line goes when its client is cut off.
async fn send(line: Line, tx: &mpsc::Sender<Piece>) -> Option<()> {
    let Line { text, held: _held } = line;
    if text.len() <= AT_ONCE_BYTES_MAX {
        return tx.send(text).await.ok();
    }
    for piece in text.chunks(AT_ONCE_BYTES_MAX) {
        tx.send(Bytes::copy_from_slice(piece)).await.ok()?;
    }
    Some(())
}
