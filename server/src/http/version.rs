//! `/version`: what tools read to know which API they may use.

use axum::extract::Request;
use axum::http::Method;
use axum::response::Response;

use super::reply;
use crate::{CLUSTER_VERSION, ETCD_VERSION};

pub(super) async fn version(request: Request) -> Response {
    if request.method() != Method::GET {
        return reply::method_not_allowed();
    }
    // In etcd's order of keys.
    reply::with_type(
        "application/json",
        format!(
            r#"{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"{CLUSTER_VERSION}","storage":"{CLUSTER_VERSION}"}}"#
        ),
    )
}
