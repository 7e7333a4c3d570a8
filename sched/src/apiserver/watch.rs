//! Watches: what changes, as a stream of JSON lines.
//!
//! A watch begins at the revision after the one that the client names, without gap or repeat;
//! without one it begins with all that is there. An object that comes to match is ADDED, one that
//! no longer matches DELETED. A watch that falls behind the store's compaction ends with 410.

use std::time::Duration;

use api::etcdserverpb::{WatchCreateRequest, WatchResponse};
use api::mvccpb::Event;
use api::mvccpb::event::EventType;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::path::Target;
use super::respond::{Accept, metadata_of};
use super::status::{Failure, Result};
use super::table::{self, Include};
use super::verbs::Chosen;
use super::{ApiServer, Body, BoxError, Call, convert};
use crate::kv;
use crate::objects::{Document, Error, Objects};

/// How long a watch lasts if the client does not say.
const LASTS_S: i64 = 30 * 60;
/// And at most: a week.
const LASTS_S_MAX: i64 = 7 * 24 * 3600;
/// How often a client that wants them is told how far the watch has come.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// How long after its time a watch may still be sending what a slow client takes.
const LATE_MAX: Duration = Duration::from_secs(60);
/// Lines that may wait for a slow client; then the store's own flow control holds the watch.
const WAITING_MAX: usize = 64;

impl ApiServer {
    pub(super) async fn watch(&self, mut target: Target, call: &Call) -> Result<Response<Body>> {
        let chosen = Chosen::of(call)?;
        // A watch of one object may name it in the path or in a selector.
        if let Some(name) = chosen.fields.name() {
            target.name = Some(name.to_owned());
        }
        let from = call.query.number("resourceVersion")?.filter(|revision| *revision > 0);
        let lasts = call.query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0);
        let lasts = Duration::from_secs(lasts.unwrap_or(LASTS_S).min(LASTS_S_MAX).unsigned_abs());
        let mut sink = Sink {
            accept: call.accept,
            include: Include::parse(call.query.get("includeObject"))?,
            has_header: false,
            chosen,
            target,
            lines: mpsc::channel(1).0,
        };
        let (first, revision) = match from {
            Some(revision) => (Vec::new(), revision),
            None => self.all(&sink).await?,
        };
        let wants_end = call.query.flag("sendInitialEvents")?;
        let bookmarks = call.query.flag("allowWatchBookmarks")?;
        let watch = self.begin(&sink.target, revision).await?;
        let (sender, lines) = mpsc::channel(WAITING_MAX);
        sink.lines = sender;
        tokio::spawn(async move {
            if sink.send_first(first, revision, wants_end && bookmarks).await.is_some() {
                let end = Instant::now() + lasts;
                let following = sink.follow(watch, revision, bookmarks, end);
                let _ = tokio::time::timeout_at(end + LATE_MAX, following).await;
            }
        });
        Ok(response(lines))
    }

    /// Everything that is there and chosen, and the revision that it is of.
    async fn all(&self, sink: &Sink) -> Result<(Vec<Value>, i64)> {
        let target = &sink.target;
        let listed = self.objects().list_documents(target.resource, target.namespace()).await;
        let listed = listed.map_err(|error| Failure::of(error, target.resource, ""))?;
        let values = listed.items.into_iter().map(|one| one.value);
        Ok((values.filter(|value| sink.chosen.matches(value)).collect(), listed.revision))
    }

    async fn begin(&self, target: &Target, revision: i64) -> Result<kv::Watch> {
        let range = match (&target.name, target.resource.namespaced, &target.namespace) {
            (Some(name), false, _) => one(Objects::key_of(target.resource, None, name)),
            (Some(name), true, Some(namespace)) => {
                one(Objects::key_of(target.resource, Some(namespace), name))
            }
            _ => kv::range(&Objects::prefix_of(target.resource, target.namespace())),
        };
        let create = WatchCreateRequest {
            key: range.key,
            range_end: range.range_end,
            start_revision: revision + 1,
            progress_notify: true,
            prev_kv: true,
            ..WatchCreateRequest::default()
        };
        let watch = self.objects().store().watch(create).await;
        watch.map_err(|error| Failure::of(Error::from(error), target.resource, target.name()))
    }
}

fn one(key: Vec<u8>) -> api::etcdserverpb::RangeRequest {
    api::etcdserverpb::RangeRequest { key: key.into(), ..Default::default() }
}

fn response(lines: mpsc::Receiver<Bytes>) -> Response<Body> {
    let frames = futures::stream::unfold(lines, |mut lines| async move {
        let line = lines.recv().await?;
        Some((Ok::<_, BoxError>(Frame::data(line)), lines))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Where the events of one watch go.
struct Sink {
    target: Target,
    chosen: Chosen,
    accept: Accept,
    include: Include,
    /// Whether the columns of a table have been sent.
    has_header: bool,
    lines: mpsc::Sender<Bytes>,
}

impl Sink {
    async fn send_first(&mut self, first: Vec<Value>, revision: i64, end: bool) -> Option<()> {
        for value in first {
            self.send("ADDED", value).await?;
        }
        if end {
            self.bookmark(revision, true).await?;
        }
        Some(())
    }

    /// Passes everything on, until its time is over or the watch or the client ends. With
    /// `bookmarks` the client is told how far it has come, now and then and at the end.
    async fn follow(
        &mut self,
        mut watch: kv::Watch,
        mut revision: i64,
        bookmarks: bool,
        end: Instant,
    ) {
        let mut ticks = tokio::time::interval_at(Instant::now() + BOOKMARKS, BOOKMARKS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let lines = self.lines.clone();
        loop {
            let sent = tokio::select! {
                () = lines.closed() => return,
                () = tokio::time::sleep_until(end) => {
                    if bookmarks {
                        let _ = self.bookmark(revision, false).await;
                    }
                    return;
                }
                _ = ticks.tick(), if bookmarks => self.bookmark(revision, false).await,
                answer = watch.next() => match answer {
                    Some(Ok(answer)) => {
                        revision = reached(&answer, revision);
                        self.send_all(answer.events).await
                    }
                    Some(Err(error)) => {
                        self.send_error(error).await;
                        return;
                    }
                    None => return,
                },
            };
            if sent.is_none() {
                return;
            }
        }
    }

    async fn send_all(&mut self, events: Vec<Event>) -> Option<()> {
        for event in events {
            let Some((kind, value)) = self.translate(&event) else { continue };
            self.send(kind, value).await?;
        }
        Some(())
    }

    /// What an event of the store is to this watch. A document that cannot be read is not there
    /// for it; reading it has told of that.
    fn translate(&self, event: &Event) -> Option<(&'static str, Value)> {
        let is_chosen = |document: &Option<Document>| {
            document.as_ref().is_some_and(|document| self.chosen.matches(&document.value))
        };
        let kv = event.kv.as_ref()?;
        let before = event.prev_kv.as_ref().and_then(|kv| Document::read(kv).ok());
        let was = is_chosen(&before);
        if event.r#type() == EventType::Put {
            let now = Document::read(kv).ok();
            match (was, is_chosen(&now), now) {
                (false, true, Some(now)) => return Some(("ADDED", now.value)),
                (true, true, Some(now)) => return Some(("MODIFIED", now.value)),
                (true, false, Some(now)) => return Some(("DELETED", now.value)),
                // It cannot be read any more: for this watcher it is gone, as below.
                (true, false, None) => {}
                _ => return None,
            }
        }
        let mut last = before.filter(|_| was)?.value;
        // The revision of its end, from which a watch can go on.
        last["metadata"]["resourceVersion"] = kv.mod_revision.to_string().into();
        Some(("DELETED", last))
    }

    async fn send(&mut self, kind: &str, value: Value) -> Option<()> {
        let value = convert::outgoing(&self.target, value);
        let object = match self.accept {
            Accept::Whole => value,
            Accept::Metadata => metadata_of(&value),
            Accept::Table => {
                let version = value["metadata"]["resourceVersion"].clone();
                let metadata = json!({"resourceVersion": version});
                let mut table =
                    table::render(self.target.resource, &[value], &metadata, self.include);
                if std::mem::replace(&mut self.has_header, true) {
                    table["columnDefinitions"] = json!([]);
                }
                table
            }
        };
        self.line(kind, &object).await
    }

    async fn bookmark(&mut self, revision: i64, ends_first: bool) -> Option<()> {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if ends_first {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.accept {
            Accept::Table => {
                let object = json!({
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata,
                });
                json!({
                    "kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": [],
                    "metadata": {"resourceVersion": revision.to_string()},
                    "rows": [{"cells": [], "object": object}],
                })
            }
            _ => json!({
                "kind": self.target.resource.kind, "apiVersion": self.target.api_version(),
                "metadata": metadata,
            }),
        };
        self.line("BOOKMARK", &object).await
    }

    async fn send_error(&mut self, error: kv::Error) {
        let failure = Failure::of(Error::from(error), self.target.resource, self.target.name());
        let _ = self.line("ERROR", &failure.document()).await;
    }

    /// `None`: the client is gone.
    async fn line(&self, kind: &str, object: &Value) -> Option<()> {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        self.lines.send(line.into()).await.ok()
    }
}

fn reached(answer: &WatchResponse, before: i64) -> i64 {
    let last = answer.events.last().and_then(|event| event.kv.as_ref());
    match last {
        Some(kv) => kv.mod_revision,
        // Nothing up to here: a progress notice.
        None => answer.header.as_ref().map_or(before, |header| header.revision.max(before)),
    }
}
