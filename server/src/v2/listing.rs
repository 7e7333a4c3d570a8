//! The answer to a read, piece by piece: a listing may be larger than the memory that one client
//! deserves, and its reader slow.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use futures::{StreamExt, stream};
use store::v2::{Listing, Step};

use super::json::{self, TailBody};
use crate::grpc::Context;

/// Answers up to this are made at once, and have a length.
const WHOLE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a piece of a larger one, or a value more. A slow client keeps a few of them in memory.
const PIECE_BYTES: usize = 256 << 10;

const _: () = assert!(PIECE_BYTES < WHOLE_BYTES_MAX);

/// JSON of a listing as it is written.
pub(super) struct Pieces {
    listing: Listing,
    now_ns: i64,
    /// What is left to write of the directories that are open.
    open: Vec<TailBody>,
    /// Something stands before the next node in its directory.
    follows: bool,
    stage: Stage,
}

#[derive(PartialEq, Eq)]
enum Stage {
    Start,
    Nodes,
    Done,
}

impl Pieces {
    pub(super) fn new(listing: Listing, now_ns: i64) -> Pieces {
        Pieces { listing, now_ns, open: Vec::new(), follows: false, stage: Stage::Start }
    }

    /// Everything up to about `bytes_max`; empty after the end.
    pub(super) fn next(&mut self, bytes_max: usize) -> String {
        let mut text = String::new();
        if self.stage == Stage::Start {
            text.push_str("{\"action\":\"get\",\"node\":");
            self.stage = Stage::Nodes;
        }
        while self.stage == Stage::Nodes && text.len() < bytes_max {
            match self.listing.next() {
                Some(step) => self.write(&step, &mut text),
                None => {
                    text.push_str("}\n");
                    self.stage = Stage::Done;
                }
            }
        }
        text
    }

    fn write(&mut self, step: &Step, text: &mut String) {
        match step {
            Step::Node { seen, opens } => {
                if std::mem::replace(&mut self.follows, !opens) {
                    text.push(',');
                }
                let head = json::escaped(&json::head(seen, self.now_ns));
                text.push_str(head.strip_suffix('}').expect("a struct is written as an object"));
                if *opens {
                    text.push_str(",\"nodes\":[");
                    self.open.push(json::tail(seen));
                } else {
                    end(&json::tail(seen), text);
                }
            }
            Step::End => {
                text.push(']');
                end(&self.open.pop().expect("what ends has opened"), text);
                self.follows = true;
            }
        }
    }
}

/// Closes a node, which has a key, or is a directory: something stands before.
fn end(tail: &TailBody, text: &mut String) {
    let tail = json::escaped(tail);
    if tail != "{}" {
        text.push(',');
    }
    text.push_str(tail.strip_prefix('{').expect("a struct is written as an object"));
}

/// An answer whose beginning is made.
pub(super) struct Begun {
    text: String,
    rest: Pieces,
}

impl Begun {
    /// Blocks.
    pub(super) fn new(mut pieces: Pieces) -> Begun {
        let text = pieces.next(WHOLE_BYTES_MAX);
        Begun { text, rest: pieces }
    }

    /// What is left is made as its client takes it, and no more if the client takes too long.
    pub(super) fn into_response(self, context: &Context) -> Response {
        let Begun { text, mut rest } = self;
        if rest.stage == Stage::Done {
            return json::of_body(StatusCode::OK, Body::from(text));
        }
        let next = move || Ok(Some(rest.next(PIECE_BYTES)).filter(|piece| !piece.is_empty()));
        let rest = context.feed(next).map(|piece| match piece {
            Ok(piece) => Ok(Bytes::from(piece)),
            // Nothing tells this client but that the answer breaks off.
            Err(error) => Err(std::io::Error::other(tonic::Status::from(error).message())),
        });
        let all = stream::iter([Ok(Bytes::from(text))]).chain(rest);
        json::of_body(StatusCode::OK, Body::from_stream(all))
    }
}
