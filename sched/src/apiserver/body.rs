//! What clients send: read whole, within a bound, and understood.

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use super::BoxError;
use super::protobuf;
use super::status::{Failure, Result};

/// The largest body, as Kubernetes has it; the store's own bound is below it.
pub(super) const BODY_BYTES_MAX: usize = 3 << 20;

/// # Errors
/// It is too large, or the connection broke.
pub(super) async fn read<B>(body: B) -> Result<Bytes>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("Request entity too large: limit is {BODY_BYTES_MAX}");
            let code = StatusCode::PAYLOAD_TOO_LARGE;
            Err(Failure::new(code, "RequestEntityTooLarge", message))
        }
        Err(error) => Err(Failure::bad_request(format!("the body could not be read: {error}"))),
    }
}

/// The document in a body.
///
/// # Errors
/// It is of another media type, or malformed.
pub(super) fn document(media_type: &str, body: &[u8]) -> Result<Value> {
    let malformed = |reason: String| {
        Failure::bad_request(format!("the object provided is unrecognized: {reason}"))
    };
    let value: Value = match media_type {
        "application/vnd.kubernetes.protobuf" => protobuf::decode(body).map_err(malformed)?,
        "application/yaml" | "text/yaml" | "application/apply-patch+yaml" => {
            serde_yaml_ng::from_slice(body).map_err(|error| malformed(error.to_string()))?
        }
        // Old clients name nothing.
        "" | "application/json" => {
            serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?
        }
        other => return Err(unsupported(other)),
    };
    if value.is_object() { Ok(value) } else { Err(malformed("it is no object".to_owned())) }
}

pub(super) fn unsupported(media_type: &str) -> Failure {
    let message = format!(
        "the body of the request was in an unknown format ({media_type}): send application/json"
    );
    Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
}

/// `a/b` of `a/b; charset=c`.
pub(super) fn media_type(headers: &http::HeaderMap) -> String {
    let value = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
