//! `X-HTTP-Method-Override`, as grpc-gateway takes it: of a POST whose body is a form, and of nothing
//! else. It makes the request one of that other verb, and no path here has one but POST.
//!
//! Source: what etcd 3.4 answers.

use axum::body::{Body, to_bytes};
use http::request::Parts;
use http::{Method, header};

use crate::v2::decode_form;

const OVERRIDE: &str = "x-http-method-override";
/// Exactly: with parameters behind it, it is another type there.
const FORM: &str = "application/x-www-form-urlencoded";

/// The verb that such a request asks for.
pub(super) fn overridden(parts: &Parts) -> Option<Method> {
    let header = |name| parts.headers.get(name).map(http::HeaderValue::as_bytes);
    let named = header(OVERRIDE).filter(|named| !named.is_empty())?;
    let is_form = header(header::CONTENT_TYPE.as_str()) == Some(FORM.as_bytes());
    if parts.method != Method::POST || !is_form {
        return None;
    }
    // What is no verb at all is none that is served.
    Some(Method::from_bytes(&named.to_ascii_uppercase()).unwrap_or(Method::TRACE))
}

/// Reads the form, as etcd does before it calls with an empty message.
///
/// # Errors
/// What is wrong with it, in Go's words.
pub(super) async fn read_form(body: Body, len_max: usize) -> Result<(), String> {
    let body = to_bytes(body, len_max).await;
    let body = body.map_err(|_| "http: POST too large".to_owned())?;
    decode_form(&body).map(drop)
}
