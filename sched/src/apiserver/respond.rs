//! Answers, in the form that the client asked for.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use super::path::Target;
use super::status::Failure;
use super::{Body, convert, table};
use crate::objects::Document;

/// In which form objects are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accept {
    Whole,
    /// As rows for people.
    Table,
    /// Metadata alone.
    Metadata,
}

impl Accept {
    /// The first form named that can be had.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        for choice in accept.unwrap_or_default().split(',') {
            let has = |parameter: &str| choice.split(';').any(|part| part.trim() == parameter);
            if has("as=Table") && has("v=v1") {
                return Self::Table;
            }
            if has("as=PartialObjectMetadata") || has("as=PartialObjectMetadataList") {
                return Self::Metadata;
            }
            if choice.trim().starts_with("application/json") {
                return Self::Whole;
            }
        }
        Self::Whole
    }
}

pub(super) fn bytes(code: StatusCode, media_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let body = Full::from(body).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

pub(super) fn json(code: StatusCode, value: &Value) -> Response<Body> {
    bytes(code, "application/json", value.to_string().into_bytes())
}

pub(super) fn failure(failure: &Failure) -> Response<Body> {
    // No `Retry-After` with a 429: clients would try ten times before they say what is the matter.
    json(failure.code, &failure.document())
}

/// Adds a line that kubectl shows to the user.
pub(super) fn warn(response: &mut Response<Body>, text: &str) {
    let text = text.replace(['"', '\\'], "'");
    // A text that no header can carry is not worth failing for.
    if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
        response.headers_mut().append(header::WARNING, value);
    }
}

/// One object.
pub(super) fn object(
    code: StatusCode,
    target: &Target,
    accept: Accept,
    document: &Document,
) -> Response<Body> {
    let value = convert::outgoing(target, document.value.clone());
    let value = match accept {
        Accept::Whole => value,
        Accept::Table => {
            let metadata = json!({"resourceVersion": document.revision.to_string()});
            table::render(target.resource, &[value], &metadata, table::Include::Metadata)
        }
        Accept::Metadata => metadata_of(&value),
    };
    json(code, &value)
}

/// An object without what is not metadata.
pub(super) fn metadata_of(value: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": value["metadata"],
    })
}
