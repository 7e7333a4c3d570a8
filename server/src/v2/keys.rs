//! `/v2/keys`: reads, writes and waiting for changes.

use api::berthpb::command::Op;
use api::berthpb::{V2Write, v2_write};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::Response;
use store::Reader;
use store::v2::Path;
use tonic::metadata::MetadataMap;

use super::errors::{Code, Refused};
use super::form::Form;
use super::listing::{Begun, Pieces};
use super::request::Asked;
use super::{V2, json, now_ns, watch};
use crate::grpc::errors::Error;

/// What etcd allows here.
const METHODS: &[Method] = &[Method::HEAD, Method::GET, Method::PUT, Method::POST, Method::DELETE];

/// A byte takes three in a form, at most; names and other fields take some as well.
const FORM_BYTES_PER_BYTE: usize = 3;
const FORM_OVERHEAD_BYTES: usize = 64 << 10;

/// What the quota reckons a node to cost beside its bytes, as it does for keys.
const NODE_COST_BYTES: u64 = 256;

/// Answers a request for the key `path`.
pub(super) async fn serve(v2: &V2, path: &[u8], request: Request) -> Response {
    if !METHODS.contains(request.method()) {
        return super::method_not_allowed(METHODS);
    }
    let outcome = answer(v2, path, request).await;
    let mut response = outcome.unwrap_or_else(Refused::into_response);
    v2.tell_cluster(response.headers_mut());
    response
}

async fn answer(v2: &V2, path: &[u8], request: Request) -> Result<Response, Refused> {
    v2.check_open()?;
    let (parts, body) = request.into_parts();
    let form = form(v2, &parts.method, &parts.uri, &parts.headers, body).await?;
    let now_ns = now_ns();
    match Asked::read(&parts.method, path, &form, now_ns)? {
        Asked::Get { recursive, quorum } => get(v2, Path::clean(path), recursive, quorum).await,
        Asked::Wait { recursive, stream, since } => {
            watch::answer(v2, &Path::clean(path), recursive, stream, since)
        }
        Asked::Write { write, no_value } => put(v2, write, no_value).await,
    }
}

async fn form(
    v2: &V2,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<Form, Refused> {
    let has_form = matches!(*method, Method::PUT | Method::POST);
    let body = match has_form {
        true => {
            let len_max = v2.context.request_bytes_max().saturating_mul(FORM_BYTES_PER_BYTE);
            let len_max = len_max.saturating_add(FORM_OVERHEAD_BYTES);
            Some(to_bytes(body, len_max).await.map_err(|_| Refused::too_large())?)
        }
        false => None,
    };
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let content_type = content_type.map(String::from_utf8_lossy).filter(|it| !it.is_empty());
    Form::parse(uri.query(), content_type.as_deref(), body.as_deref())
        .map_err(|wrong| Code::InvalidForm.because(wrong))
}

async fn get(v2: &V2, path: Path, recursive: bool, quorum: bool) -> Result<Response, Refused> {
    v2.context.barrier(!quorum).await?;
    // It may have to wait, and auth may be on by now.
    v2.check_open()?;
    // A directory may hold much.
    let is_short = !v2.reader().v2().is_dir(&path);
    let read = move |reader: &Reader| {
        let view = reader.v2();
        let listing = view.list(&path, recursive);
        reader.count_v2_get(listing.is_ok());
        Ok((listing.map(|listing| Begun::new(Pieces::new(listing, now_ns()))), view.index()))
    };
    let (begun, index) = v2.context.read(is_short, read).await?;
    let mut response = begun?.into_response(&v2.context);
    v2.tell_position(response.headers_mut(), index);
    Ok(response)
}

async fn put(v2: &V2, write: V2Write, no_value: bool) -> Result<Response, Refused> {
    if v2.context.node().is_learner() {
        return Err(Error::NotSupportedForLearner.into());
    }
    // Auth is off: nobody is a stranger.
    v2.context.admit(&MetadataMap::new(), cost(&write)).await?;
    let answer = v2.context.propose(None, Op::V2Write(write)).await?;
    let store::Response::V2Write(outcome) = answer else {
        return Err(crate::grpc::mismatch(&answer).into());
    };
    let event = outcome?;
    let mut response = json::written(&event, !no_value);
    v2.tell_position(response.headers_mut(), event.index());
    Ok(response)
}

/// What makes room costs nothing.
fn cost(write: &V2Write) -> u64 {
    use v2_write::Action;
    match write.action() {
        Action::Delete | Action::CompareAndDelete => 0,
        _ => NODE_COST_BYTES + (write.path.len() + write.value.len()) as u64,
    }
}
