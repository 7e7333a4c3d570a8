//! What answers a path that nobody serves.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::reply;

/// gRPC's "unimplemented" for a gRPC request, Go's 404 for anything else.
pub async fn unknown_path(request: Request) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is_grpc = content_type
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/grpc"));
    if !is_grpc {
        return reply::error(StatusCode::NOT_FOUND, "404 page not found");
    }
    let mut response = reply::with_type("application/grpc", String::new());
    let headers = response.headers_mut();
    headers.insert("grpc-status", HeaderValue::from_static("12"));
    headers.insert("grpc-message", message(request.uri().path()));
    response
}

/// grpc-go's words. A path that cannot be a header value goes without its name.
fn message(path: &str) -> HeaderValue {
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    HeaderValue::try_from(format!("unknown service {service}"))
        .unwrap_or(HeaderValue::from_static("unknown service"))
}
