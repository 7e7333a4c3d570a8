//! etcd's v2 API over the same node: `/v2/keys`, `/v2/members`, `/v2/machines`, `/v2/stats`.
//!
//! A request is read as etcd 3.4 reads it, becomes a command or a read, and is answered in its
//! words. What a write does is decided in `store::v2`; this room translates. It must never answer a
//! write before the node has, and while auth is on it tells nobody anything: the v2 API of etcd has
//! users of its own, and here it has none.
//!
//! Start at [`routes`], then `keys.rs`; errors are in `errors.rs`.

mod errors;
mod expiry;
mod form;
mod json;
mod keys;
mod listing;
mod members;
mod notices;
mod paths;
mod request;
mod stats;
mod watch;

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::any;
use store::Reader;
use tokio_util::sync::CancellationToken;

use crate::grpc::Context;
use crate::http;
use errors::Refused;

pub use expiry::run as expire;
pub(crate) use form::decode_whole as decode_form;
pub use notices::Notices;

/// What all requests share.
#[derive(Clone)]
struct V2 {
    context: Context,
    notices: Notices,
    /// Ends what waits.
    stopping: CancellationToken,
    started: stats::Started,
}

/// The paths. `notices` observe what the node applies; `stopping` ends those who wait.
pub fn routes(context: &Context, notices: &Notices, stopping: &CancellationToken) -> Router {
    let v2 = V2 {
        context: context.clone(),
        notices: notices.clone(),
        stopping: stopping.clone(),
        started: stats::Started::now(),
    };
    Router::new().route("/v2/{*path}", any(serve)).with_state(v2)
}

async fn serve(State(v2): State<V2>, request: Request) -> Response {
    let path = match paths::clean(request.method(), request.uri()) {
        Ok(path) => path,
        Err(answer) => return *answer,
    };
    let below = |prefix: &str| {
        let rest = path.strip_prefix(prefix.as_bytes())?;
        (rest.is_empty() || rest[0] == b'/').then_some(rest)
    };
    if let Some(key) = below("/v2/keys") {
        return keys::serve(&v2, key, request).await;
    }
    if let Some(rest) = below("/v2/members") {
        return members::serve(&v2, rest.strip_prefix(b"/").unwrap_or(rest), request).await;
    }
    if path == b"/v2/machines" {
        return members::machines(&v2, request.method());
    }
    let stats = path.strip_prefix(b"/v2/stats/");
    if let Some(answer) = stats.and_then(|rest| stats::serve(&v2, rest, request.method())) {
        return answer;
    }
    http::unknown_path(request).await
}

impl V2 {
    fn reader(&self) -> Reader {
        self.context.node().reader()
    }

    /// # Errors
    /// Auth is on.
    fn check_open(&self) -> Result<(), Refused> {
        if self.reader().auth().enabled() { Err(Refused::unauthorized()) } else { Ok(()) }
    }

    /// Says which cluster this is.
    fn tell_cluster(&self, headers: &mut HeaderMap) {
        let id = HeaderValue::from_str(&format!("{:x}", self.context.cluster_id()))
            .expect("hexadecimal digits are a header's value");
        headers.insert(json::CLUSTER_ID, id);
    }

    /// Says where tree and log are; `index` is that of the tree.
    fn tell_position(&self, headers: &mut HeaderMap, index: u64) {
        headers.insert(json::ETCD_INDEX, index.into());
        headers.insert(json::RAFT_INDEX, self.reader().position().index.into());
        headers.insert(json::RAFT_TERM, self.context.node().term().into());
    }
}

/// For any method but `allowed`.
fn method_not_allowed(allowed: &[Method]) -> Response {
    let mut response = http::error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
    let names = HeaderValue::from_str(&names.join(",")).expect("methods are a header's value");
    response.headers_mut().insert(header::ALLOW, names);
    response
}

/// The clock that deadlines are counted by, in nanoseconds since 1970.
fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
