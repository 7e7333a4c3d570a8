//! What clients send: read whole, within a bound, and understood.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::BoxError;
use super::protobuf;
use super::status::{Failure, Result};

/// The largest body, as Kubernetes has it; the store's own bound is below it.
pub(super) const BODY_BYTES_MAX: usize = 3 << 20;

/// The longest name of somebody who has fields.
pub(super) const MANAGER_LETTERS_MAX: usize = 128;
/// The largest body that is read for whoever asks.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// How long a client may take to send it, and to wait for room.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Bodies that are being read hold so much together: strangers' small ones, and all others.
const SMALL_KIB_MAX: u32 = 16 << 10;
const KIB_MAX: u32 = 128 << 10;

/// Memory for bodies until they are whole.
pub(super) struct Room {
    small: Semaphore,
    others: Semaphore,
}

impl Default for Room {
    fn default() -> Self {
        let kib = |count: u32| Semaphore::new(count as usize);
        Self { small: kib(SMALL_KIB_MAX), others: kib(KIB_MAX) }
    }
}

impl Room {
    /// # Errors
    /// It is too large or too slow, or the connection broke.
    pub(super) async fn read<B>(&self, body: B) -> Result<Bytes>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        read(&self.others, body, BODY_BYTES_MAX).await
    }

    /// The same of somebody who may have no rights at all.
    pub(super) async fn read_small<B>(&self, body: B) -> Result<Bytes>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        read(&self.small, body, SMALL_BYTES_MAX).await
    }
}

async fn read<B>(room: &Semaphore, body: B, bytes_max: usize) -> Result<Bytes>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    // Who says no length may send the most.
    let bytes = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    let bytes = bytes.unwrap_or(bytes_max).min(bytes_max);
    let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(KIB_MAX);
    let reading = async {
        let _held = room.acquire_many(kib).await;
        whole(body, bytes_max).await
    };
    let late = |_| {
        let message = format!("the body did not come within {} s", TIME_MAX.as_secs());
        Failure::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message)
    };
    tokio::time::timeout(TIME_MAX, reading).await.map_err(late)?
}

async fn whole<B>(body: B, bytes_max: usize) -> Result<Bytes>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("Request entity too large: limit is {bytes_max}");
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

/// `kubectl` of `kubectl/v1.32.4 (linux/amd64) kubernetes/abcdef0`.
pub(super) fn agent(headers: &http::HeaderMap) -> String {
    let value = headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
    let name = value.unwrap_or_default().split('/').next().unwrap_or_default();
    name.chars().take(MANAGER_LETTERS_MAX).collect()
}
