//! Answers as etcd writes them: the same fields in the same order, empty ones left out.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use store::v2::{Action, Event, Seen};

pub(super) const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
pub(super) const ETCD_INDEX: HeaderName = HeaderName::from_static("x-etcd-index");
pub(super) const RAFT_INDEX: HeaderName = HeaderName::from_static("x-raft-index");
pub(super) const RAFT_TERM: HeaderName = HeaderName::from_static("x-raft-term");

const NS_PER_S: i64 = 1_000_000_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventBody<'a> {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<NodeBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_node: Option<NodeBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeBody<'a> {
    #[serde(flatten)]
    head: HeadBody<'a>,
    #[serde(flatten)]
    tail: TailBody,
}

/// Of a node, what stands before what is in it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeadBody<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    key: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "is_false")]
    dir: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    ttl: i64,
}

/// And what stands behind it.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TailBody {
    #[serde(skip_serializing_if = "is_zero")]
    modified_index: u64,
    #[serde(skip_serializing_if = "is_zero")]
    created_index: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// One change, as text.
pub(super) fn event(event: &Event) -> String {
    write(&body(event, true))
}

/// The answer to the write that made it; `values` says whether the client wants to see nodes.
pub(super) fn written(event: &Event, values: bool) -> Response {
    let removes = matches!(event.action, Action::Delete | Action::CompareAndDelete);
    let status = if event.created() { StatusCode::CREATED } else { StatusCode::OK };
    response(status, &body(event, values || removes))
}

fn body(event: &Event, values: bool) -> EventBody<'_> {
    let prev = event.prev.as_ref().filter(|_| values);
    EventBody {
        action: name(event.action),
        node: values.then(|| node(&event.node, event.now_ns)),
        prev_node: prev.map(|prev| node(prev, event.now_ns)),
    }
}

fn node(seen: &Seen, now_ns: i64) -> NodeBody<'_> {
    NodeBody { head: head(seen, now_ns), tail: tail(seen) }
}

pub(super) fn head(seen: &Seen, now_ns: i64) -> HeadBody<'_> {
    HeadBody {
        key: text(&seen.path),
        value: seen.value.as_ref().map(|value| text(value)),
        dir: seen.dir,
        expiration: seen.deadline_ns.map(rfc3339),
        ttl: seen.deadline_ns.map_or(0, |deadline_ns| ttl_s(deadline_ns, now_ns)),
    }
}

pub(super) fn tail(seen: &Seen) -> TailBody {
    TailBody { modified_index: seen.modified, created_index: seen.created }
}

fn name(action: Action) -> &'static str {
    match action {
        Action::Get => "get",
        Action::Set => "set",
        Action::Create => "create",
        Action::Update => "update",
        Action::CompareAndSwap => "compareAndSwap",
        Action::Delete => "delete",
        Action::CompareAndDelete => "compareAndDelete",
        Action::Expire => "expire",
    }
}

/// Whole seconds that are left, begun ones counted; below zero for what should have expired.
fn ttl_s(deadline_ns: i64, now_ns: i64) -> i64 {
    let left_ns = deadline_ns.saturating_sub(now_ns);
    left_ns / NS_PER_S + i64::from(left_ns % NS_PER_S > 0)
}

/// With as many digits behind the point as are needed.
fn rfc3339(unix_ns: i64) -> String {
    let since = Duration::from_nanos(u64::try_from(unix_ns).unwrap_or(0));
    let full = humantime::format_rfc3339_nanos(UNIX_EPOCH + since).to_string();
    let short = full.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{short}Z")
}

/// As Go writes what is no UTF-8: each wrong byte becomes the replacement character.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

/// A line of JSON as Go writes it.
fn write<T: Serialize>(body: &T) -> String {
    let mut json = escaped(body);
    json.push('\n');
    json
}

/// JSON in which nothing can be taken for HTML.
pub(super) fn escaped<T: Serialize>(body: &T) -> String {
    let mut json = serde_json::to_string(body).expect("text and numbers are always JSON");
    for (sign, escaped) in [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026")] {
        // They stand in strings alone.
        if json.contains(sign) {
            json = json.replace(sign, escaped);
        }
    }
    json
}

/// An answer with this body.
pub(super) fn response<T: Serialize>(status: StatusCode, body: &T) -> Response {
    of_text(status, write(body))
}

/// The same without the line feed, as etcd has it where it does not use its encoder.
pub(super) fn response_unended<T: Serialize>(status: StatusCode, body: &T) -> Response {
    let mut json = write(body);
    json.truncate(json.len() - 1);
    of_text(status, json)
}

fn of_text(status: StatusCode, text: String) -> Response {
    of_body(status, Body::from(text))
}

pub(super) fn of_body(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        // Shows the digits behind the point, and that time left is rounded away from nothing.
        assert_eq!(rfc3339(1_700_000_000_120_000_000), "2023-11-14T22:13:20.12Z");
        assert_eq!(rfc3339(1_700_000_000_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(-5), "1970-01-01T00:00:00Z");
        let left = |ns| ttl_s(ns, 0);
        assert_eq!([1, NS_PER_S, NS_PER_S + 1].map(left), [1, 1, 2]);
        assert_eq!([-1, -NS_PER_S, i64::MIN].map(left), [0, -1, i64::MIN / NS_PER_S]);
    }

    #[test]
    fn bytes_become_text_as_in_go() {
        // Shows what becomes of bytes that are no text, and of signs of HTML.
        assert_eq!(text(b"a\xff\xe2\x82b"), "a\u{fffd}\u{fffd}\u{fffd}b");
        assert_eq!(write(&"<&>"), "\"\\u003c\\u0026\\u003e\"\n");
    }
}
