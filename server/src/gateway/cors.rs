//! `--cors`: which pages of other origins may read the answers, as etcd tells browsers.
//!
//! Everything but gRPC is told it. An `OPTIONS` is answered here, whatever its path. Browsers open a
//! WebSocket to any origin without asking, so there the origin is checked here: other than etcd does.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::websocket;
use crate::http::error as plain_error;

const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static("accept, content-type, authorization");

/// The origins that may; `*` is any.
#[derive(Clone, Debug)]
pub struct Cors(Arc<BTreeSet<String>>);

impl Cors {
    pub fn new(origins: &[String]) -> Self {
        Self(Arc::new(origins.iter().cloned().collect()))
    }

    /// `routes`, and what is told of them.
    pub fn around(&self, routes: Router) -> Router {
        routes.layer(from_fn_with_state(self.clone(), tell))
    }

    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.0.contains("*") {
            return Some(HeaderValue::from_static("*"));
        }
        let origin = headers.get(header::ORIGIN)?;
        origin.to_str().is_ok_and(|origin| self.0.contains(origin)).then(|| origin.clone())
    }
}

async fn tell(State(cors): State<Cors>, request: Request, next: Next) -> Response {
    if is_grpc(request.headers()) {
        return next.run(request).await;
    }
    let allowed = cors.allowed(request.headers());
    if websocket::is_asked_for(&request) && allowed.is_none() && !is_of_this_host(&request) {
        return plain_error(StatusCode::FORBIDDEN, "origin is not in --cors");
    }
    let mut response = if request.method() == Method::OPTIONS {
        Response::new(Body::empty())
    } else {
        next.run(request).await
    };
    if let Some(origin) = allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    }
    response
}

/// What is no browser names no origin; a page that came from here names this host.
fn is_of_this_host(request: &Request) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
    let origin = origin.to_str().unwrap_or_default();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(Authority::as_str));
    origin.split_once("://").is_some_and(|(_, named)| Some(named) == host)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/grpc"))
}
