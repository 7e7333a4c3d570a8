//! What is checked on every call before its service sees it, and mended in every answer after.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use tonic::{Code, Status};

use super::Context;
use super::caller;
use super::errors::{self, Error};
use crate::http::CallKind;

/// Clients that cannot do with a member that has lost its leader say so in this.
const REQUIRE_LEADER: &str = "hasleader";
const CLIENT_API_VERSION: &str = "client-api-version";
/// The calls with more than one message.
const STREAM_PATHS: [&str; 7] = [
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Maintenance/Snapshot",
    "/etcdserverpb.KV/RangeStream",
    "/v3electionpb.Election/Observe",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.",
];
/// Learners answer these themselves; a serializable range is theirs too.
const LEARNER_PATHS: [&str; 5] = [
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Snapshot",
    "/etcdserverpb.KV/Range",
    "/grpc.health.v1.Health/",
    "/grpc.reflection.",
];

/// Whether the caller cannot do without a leader.
pub fn requires_leader(metadata: &HeaderMap) -> bool {
    metadata.get(REQUIRE_LEADER).is_some_and(|value| value == "true")
}

/// The middleware.
pub(super) async fn pass(
    State(context): State<Context>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let is_stream = STREAM_PATHS.iter().any(|stream| path.starts_with(stream));
    let kind = if is_stream { CallKind::Stream } else { CallKind::Unary };
    match enter(&context, kind, &mut request).await {
        Ok(()) => mend(&path, next.run(request).await),
        Err(error) => Status::from(error).into_http::<Body>(),
    }
}

/// What precedes every call.
pub(super) async fn enter<B>(
    context: &Context,
    kind: CallKind,
    request: &mut http::Request<B>,
) -> Result<(), Error> {
    caller::mark(request);
    check(context, kind, request.uri().path(), request.headers())?;
    context.know_token(request.headers()).await;
    Ok(())
}

/// In the order of etcd's interceptor.
fn check(context: &Context, kind: CallKind, path: &str, metadata: &HeaderMap) -> Result<(), Error> {
    if !LEARNER_PATHS.iter().any(|own| path.starts_with(own)) && context.node().is_learner() {
        return Err(Error::NotSupportedForLearner);
    }
    let version = metadata.get(CLIENT_API_VERSION).map(HeaderValue::as_bytes);
    if version.is_some_and(|version| std::str::from_utf8(version).is_err()) {
        return Err(Error::InvalidClientApiVersion);
    }
    context.metrics().requested(kind, version);
    if requires_leader(metadata) && context.node().leader().is_none() {
        return Err(Error::NoLeader);
    }
    Ok(())
}

/// Two answers are our gRPC library's own, given before any code of ours sees the call: they get
/// the words that etcd's clients know.
fn mend(path: &str, response: Response) -> Response {
    match Status::from_header_map(response.headers()).and_then(|told| reword(path, &told)) {
        Some(status) => status.into_http(),
        None => response,
    }
}

fn reword(path: &str, told: &Status) -> Option<Status> {
    if told.code() == Code::Unimplemented && told.message().is_empty() {
        let (service, method) = path.trim_start_matches('/').split_once('/')?;
        let text = format!("unknown method {method} for service {service}");
        return Some(Status::new(Code::Unimplemented, text));
    }
    errors::oversize(told.code(), told.message()).map(Status::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_method_is_told_in_grpc_gos_words() {
        // Shows the text, and that an answer of a service is left alone.
        let library = Status::new(Code::Unimplemented, "");
        let told = reword("/etcdserverpb.KV/Fetch", &library).unwrap();
        assert_eq!(told.message(), "unknown method Fetch for service etcdserverpb.KV");
        let own = Status::new(Code::Unimplemented, "RangeStream does not support revision filters");
        assert!(reword("/etcdserverpb.KV/RangeStream", &own).is_none());
    }
}
