//! From HTTP headers to the metadata of a call.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use tonic::Status;

/// Headers that become metadata, without this.
const PREFIX: &str = "grpc-metadata-";
const TIMEOUT: &str = "grpc-timeout";

#[derive(Debug, Default)]
pub(super) struct Metadata {
    pub(super) headers: HeaderMap,
    pub(super) timeout: Option<Duration>,
}

impl Metadata {
    /// # Errors
    /// A timeout that is none.
    pub(super) fn of(from: &HeaderMap) -> Result<Self, Status> {
        let timeout = match from.get(TIMEOUT) {
            Some(value) => Some(timeout(value.to_str().unwrap_or_default())?),
            None => None,
        };
        let mut headers = HeaderMap::new();
        if let Some(token) = from.get(header::AUTHORIZATION) {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        for (name, value) in from {
            let Some(name) = name.as_str().strip_prefix(PREFIX) else { continue };
            if let Some(name) = HeaderName::try_from(name).ok().filter(may_be_said) {
                headers.append(name, value.clone());
            }
        }
        Ok(Self { headers, timeout })
    }
}

/// What HTTP and gRPC themselves say is not for the caller to say.
fn may_be_said(name: &HeaderName) -> bool {
    let own = [header::CONTENT_TYPE, header::TE, header::HOST, header::CONNECTION];
    let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    !own.contains(name) && !framing.contains(name) && !name.as_str().starts_with("grpc-")
}

/// A number and a unit, as gRPC writes it.
fn timeout(text: &str) -> Result<Duration, Status> {
    let read = || {
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let number: u32 = digits.parse().ok()?;
        Some(match unit {
            "H" => Duration::from_secs(u64::from(number) * 3600),
            "M" => Duration::from_secs(u64::from(number) * 60),
            "S" => Duration::from_secs(number.into()),
            "m" => Duration::from_millis(number.into()),
            "u" => Duration::from_micros(number.into()),
            "n" => Duration::from_nanos(number.into()),
            _ => return None,
        })
    };
    read().ok_or_else(|| Status::invalid_argument(format!("invalid {TIMEOUT}: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_says_is_passed_on() {
        // Shows the token and marked headers, and that the call itself cannot be changed so.
        let mut from = HeaderMap::new();
        for (name, value) in [
            ("authorization", "a token"),
            ("grpc-metadata-hasleader", "true"),
            ("grpc-metadata-content-type", "text/plain"),
            ("grpc-metadata-grpc-encoding", "gzip"),
            ("cookie", "c"),
        ] {
            from.insert(name, value.parse().unwrap());
        }
        let Metadata { headers, timeout } = Metadata::of(&from).unwrap();
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["authorization", "hasleader"]);
        assert_eq!(timeout, None);
    }

    #[test]
    fn timeouts_are_grpcs() {
        // Shows each kind, and what is none.
        assert_eq!(timeout("2S").unwrap(), Duration::from_secs(2));
        assert_eq!(timeout("100m").unwrap(), Duration::from_millis(100));
        for text in ["", "S", "1", "x", "1x", "-1S", "ä"] {
            assert_eq!(timeout(text).unwrap_err().code(), tonic::Code::InvalidArgument, "{text}");
        }
    }
}
