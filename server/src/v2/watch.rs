//! `wait=true`: an answer that comes when something changes, or a stream of them.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, stream};
use store::v2::{Event, Interest, Path};

use super::errors::Refused;
use super::notices::Waiter;
use super::{V2, json};

/// What a client waits for.
struct Watch {
    v2: V2,
    interest: Interest,
    waiter: Waiter,
    /// Where to look on.
    next: u64,
    stream: bool,
    ended: bool,
}

/// The headers go out at once; the body when there is something. `since` is the first index that
/// is wanted; 0: what comes now.
///
/// # Errors
/// The history does not go back so far.
pub(super) fn answer(
    v2: &V2,
    path: &Path,
    recursive: bool,
    stream: bool,
    since: u64,
) -> Result<Response, Refused> {
    // Before anything is looked at: what comes after that is told.
    let waiter = v2.notices.wait(path);
    let reader = v2.reader();
    let index = reader.v2().index();
    let interest = Interest { path: path.clone(), recursive, said_at: index };
    let next = if since == 0 { index + 1 } else { since };
    reader.v2_past(&interest, next)?;
    let watch = Watch { v2: v2.clone(), interest, waiter, next, stream, ended: false };
    let mut response = Response::new(Body::from_stream(watch.lines()));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    v2.tell_position(headers, index);
    Ok(response)
}

impl Watch {
    fn lines(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
        stream::unfold(self, |mut watch| async move {
            let event = watch.event().await?;
            Some((Ok(json::event(&event).into()), watch))
        })
    }

    /// The next event; `None` ends the answer. An answer that ends without an event, or a stream
    /// that ends, tells clients to ask again.
    async fn event(&mut self) -> Option<Arc<Event>> {
        if self.ended {
            return None;
        }
        self.ended = !self.stream;
        let stopping = self.v2.stopping.clone();
        stopping.run_until_cancelled(self.find()).await.flatten()
    }

    async fn find(&mut self) -> Option<Arc<Event>> {
        loop {
            // Auth may have been turned on, and the history may have left a slow client behind.
            self.v2.check_open().ok()?;
            let past = self.v2.reader().v2_past(&self.interest, self.next).ok()?;
            self.next = past.next;
            match past.event {
                Some(event) => return Some(event),
                None => {
                    // What was not told is not wanted, however far the history has gone on.
                    let first = self.waiter.told().await;
                    self.next = self.next.max(first.unwrap_or(0));
                }
            }
        }
    }
}
