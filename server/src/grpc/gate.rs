//! What is checked on every call before its service sees it, and mended in every answer after.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use tonic::{Code, Status};

use super::Context;
use super::errors::{self, Error};

/// Clients that cannot do with a member that has lost its leader say so in this.
const REQUIRE_LEADER: &str = "hasleader";
const CLIENT_API_VERSION: &str = "client-api-version";
/// Learners answer these themselves; a serializable range is theirs too.
const LEARNER_PATHS: [&str; 4] = [
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Snapshot",
    "/etcdserverpb.KV/Range",
    "/grpc.health.v1.Health/",
];

/// The middleware.
pub(super) async fn pass(State(context): State<Context>, request: Request, next: Next) -> Response {
    match check(&context, request.uri().path(), request.headers()) {
        Ok(()) => mend(next.run(request).await),
        Err(error) => Status::from(error).into_http::<Body>(),
    }
}

/// In the order of etcd's interceptor.
fn check(context: &Context, path: &str, metadata: &HeaderMap) -> Result<(), Error> {
    let learns = || context.node().status().is_learner;
    if !LEARNER_PATHS.iter().any(|own| path.starts_with(own)) && learns() {
        return Err(Error::NotSupportedForLearner);
    }
    if let Some(version) = metadata.get(CLIENT_API_VERSION)
        && std::str::from_utf8(version.as_bytes()).is_err()
    {
        return Err(Error::InvalidClientApiVersion);
    }
    let requires_leader = metadata.get(REQUIRE_LEADER).is_some_and(|value| value == "true");
    if requires_leader && context.node().status().leader.is_none() {
        return Err(Error::NoLeader);
    }
    Ok(())
}

/// A request above the limit is refused by our gRPC library before any code of ours sees it: the
/// answer then gets the words that etcd's clients know.
fn mend(response: Response) -> Response {
    let told = Status::from_header_map(response.headers());
    match told.and_then(|status| errors::oversize(status.code(), status.message())) {
        Some(error) => Status::from(error).into_http(),
        None => response,
    }
}

/// For a service or method that there is none of, in grpc-go's words.
pub async fn unknown(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let (service, method) = path.rsplit_once('/').unwrap_or((path, ""));
    let text = match super::SERVICES.contains(&service) {
        true => format!("unknown method {method} for service {service}"),
        false => format!("unknown service {service}"),
    };
    Status::new(Code::Unimplemented, text).into_http()
}
