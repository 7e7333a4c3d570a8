//! Refusals: gRPC's codes as HTTP's, and what is told beside.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tonic::{Code, Status};

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The answer to a call that was refused. `error` is for clients of etcd 3.5 and before.
pub(super) fn response(status: &Status) -> Response {
    let (code, message) = (status.code() as i32, status.message());
    let body = json!({ "error": message, "message": message, "code": code });
    with_status(http_status(status.code()), &body)
}

/// The same for a stream that had answered nothing yet.
pub(super) fn of_stream(status: &Status) -> Response {
    with_status(http_status(status.code()), &in_stream(status))
}

/// The last line of a stream. The first four are those of etcd 3.5 and before, `code` of later ones.
pub(super) fn in_stream(status: &Status) -> Value {
    let http = http_status(status.code());
    json!({ "error": {
        "grpc_code": status.code() as i32,
        "http_code": http.as_u16(),
        "message": status.message(),
        "http_status": http.canonical_reason().unwrap_or_default(),
        "code": status.code() as i32,
    } })
}

fn with_status(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// grpc-gateway's.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
