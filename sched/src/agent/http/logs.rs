//! `GET /logs/NAMESPACE/POD/CONTAINER`, with the API server's own parameters.

use std::sync::Arc;

use ::http::{StatusCode, Uri, header};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Refusal, find, is_set, parse, values};
use crate::agent::clock;
use crate::agent::context::Context;
use crate::agent::runtime::{LogLine, LogQuery};

pub(super) async fn answer(
    State(context): State<Arc<Context>>,
    Path((namespace, pod, name)): Path<(String, String, String)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let query = parse(uri.query());
    let wanted = Wanted::read(&query)?;
    let container = find(&context, &namespace, &pod, &name, wanted.previous).await?;
    let lines = context.runtime.logs(&container.id, wanted.lines).await?;
    let with_times = wanted.timestamps;
    let texts = lines.map(move |line| line.map(|line| text(&line, with_times)));
    let bounded = texts.scan(wanted.bytes_max, |left, text| {
        let text = text.map(|text| {
            let count = usize::try_from(*left).unwrap_or(usize::MAX).min(text.len());
            *left -= count as u64;
            text.slice(..count)
        });
        let is_over = text.as_ref().is_ok_and(Bytes::is_empty);
        std::future::ready((!is_over).then_some(text))
    });
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((plain, Body::from_stream(bounded)).into_response())
}

fn text(line: &LogLine, with_time: bool) -> Bytes {
    if !with_time {
        return line.text.clone();
    }
    let mut text = format!("{:.9} ", line.time).into_bytes();
    text.extend_from_slice(&line.text);
    text.into()
}

struct Wanted {
    lines: LogQuery,
    previous: bool,
    timestamps: bool,
    bytes_max: u64,
}

impl Wanted {
    fn read(query: &[(String, String)]) -> Result<Self, Refusal> {
        let number = |name: &str| -> Result<Option<u64>, Refusal> {
            let Some(text) = values(query, name).pop().filter(|text| !text.is_empty()) else {
                return Ok(None);
            };
            let wrong = || Refusal(StatusCode::BAD_REQUEST, format!("{name}={text} is no amount"));
            text.parse().map(Some).map_err(|_| wrong())
        };
        let seconds =
            number("sinceSeconds")?.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
        let ago = |seconds| clock::now().checked_sub(SignedDuration::from_secs(seconds)).ok();
        let time = values(query, "sinceTime").pop().filter(|text| !text.is_empty());
        let time: Option<Timestamp> = match time {
            Some(text) => Some(text.parse().map_err(|_| {
                Refusal(StatusCode::BAD_REQUEST, format!("sinceTime={text} is no time"))
            })?),
            None => None,
        };
        Ok(Self {
            lines: LogQuery {
                follow: is_set(query, "follow"),
                tail: number("tailLines")?
                    .map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
                since: seconds.and_then(ago).or(time),
            },
            previous: is_set(query, "previous"),
            timestamps: is_set(query, "timestamps"),
            bytes_max: number("limitBytes")?.unwrap_or(u64::MAX),
        })
    }
}
