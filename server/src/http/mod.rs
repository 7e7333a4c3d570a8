//! The plain HTTP endpoints beside gRPC: version, health, liveness, readiness, metrics.
//!
//! They say what is true of this member now and change nothing. Paths, bodies and status codes are
//! etcd 3.7's (`server/etcdserver/api/etcdhttp`).
//!
//! Start at [`routes`].

mod fallback;
mod health;
mod location;
mod members;
mod metrics;
mod probe;
mod profile;
mod query;
mod reply;
#[cfg(test)]
mod tests;
mod version;

use std::sync::Arc;

use api::etcdserverpb::Member;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;

pub use fallback::unknown_path;
pub(crate) use location::location;
pub use metrics::{
    CallKind, GrpcCall, GrpcLayer, MemberCounters, Metrics, PeerMetrics, Reading, ServiceMetrics,
    SnapshotUnderWay, Source,
};
pub use probe::Probe;
pub use profile::routes as profile_routes;
pub(crate) use reply::error;

/// Everything a client address serves over plain HTTP.
pub fn routes<P: Probe>(probe: P, metrics: Metrics) -> Router {
    operator_routes(probe, metrics).merge(version_route())
}

/// What `--listen-metrics-urls` serves: metrics and health.
pub fn operator_routes<P: Probe>(probe: P, metrics: Metrics) -> Router {
    let checks = health::Checks::new(probe, metrics.clone());
    Router::new()
        .route("/health", any(health::health::<P>))
        .route("/livez", any(health::livez::<P>))
        .route("/livez/{check}", any(health::livez::<P>))
        .route("/readyz", any(health::readyz::<P>))
        .route("/readyz/{check}", any(health::readyz::<P>))
        .with_state(checks)
        .merge(Router::new().route("/metrics", any(serve_metrics)).with_state(metrics))
}

/// What the peer address serves for whoever looks at this member. `members` are those that it
/// knows by then.
pub fn peer_routes(
    cluster_id: u64,
    members: impl Fn() -> Vec<Member> + Send + Sync + 'static,
) -> Router {
    let members = members::Members { cluster_id, list: Arc::new(members) };
    Router::new().route("/members", any(members::members)).with_state(members)
}

/// `/version`, which every address serves but those for metrics alone.
pub fn version_route() -> Router {
    Router::new().route("/version", any(version::version))
}

async fn serve_metrics(State(metrics): State<Metrics>, _: Request) -> Response {
    match metrics.render() {
        Ok(text) => reply::with_type(metrics::CONTENT_TYPE, text),
        Err(error) => reply::error(http::StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
