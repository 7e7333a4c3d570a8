//! Every error a client of the v2 API can get: its number, its text and its HTTP status, in one
//! table.
//!
//! Clients act on the number. It and the text are etcd 3.4's (`etcdserver/api/v2error`).

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use store::v2::{Reason, Refusal};

use super::json;
use crate::grpc::errors as grpc;

/// What is wrong, as the table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    KeyNotFound,
    CompareFailed,
    NotFile,
    NotDir,
    NodeExists,
    RootReadOnly,
    DirNotEmpty,
    Unauthorized,
    PrevValueRequired,
    TtlNotNumber,
    IndexNotNumber,
    InvalidField,
    InvalidForm,
    RefreshWithValue,
    RefreshWithoutTtl,
    RaftInternal,
    HistoryCleared,
}

impl Code {
    fn entry(self) -> (u16, &'static str, StatusCode) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const PRECONDITION: StatusCode = StatusCode::PRECONDITION_FAILED;
        match self {
            Code::KeyNotFound => (100, "Key not found", StatusCode::NOT_FOUND),
            Code::CompareFailed => (101, "Compare failed", PRECONDITION),
            Code::NotFile => (102, "Not a file", StatusCode::FORBIDDEN),
            Code::NotDir => (104, "Not a directory", BAD),
            Code::NodeExists => (105, "Key already exists", PRECONDITION),
            Code::RootReadOnly => (107, "Root is read only", BAD),
            Code::DirNotEmpty => (108, "Directory not empty", StatusCode::FORBIDDEN),
            // etcd says 403 here; it has users of the v2 API, who can do something about it.
            Code::Unauthorized => {
                (110, "The request requires user authentication", StatusCode::UNAUTHORIZED)
            }
            Code::PrevValueRequired => (201, "PrevValue is Required in POST form", BAD),
            Code::TtlNotNumber => (202, "The given TTL in POST form is not a number", BAD),
            Code::IndexNotNumber => (203, "The given index in POST form is not a number", BAD),
            Code::InvalidField => (209, "Invalid field", BAD),
            Code::InvalidForm => (210, "Invalid POST form", BAD),
            Code::RefreshWithValue => (211, "Value provided on refresh", BAD),
            Code::RefreshWithoutTtl => (212, "A TTL must be provided on refresh", BAD),
            Code::RaftInternal => (300, "Raft Internal Error", StatusCode::INTERNAL_SERVER_ERROR),
            Code::HistoryCleared => {
                (401, "The event in requested index is outdated and cleared", BAD)
            }
        }
    }

    /// A refusal for this cause, before anything was looked at.
    pub(super) fn because(self, cause: impl Into<Bytes>) -> Refused {
        Refused { code: self, cause: cause.into(), index: 0, status: self.entry().2 }
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    code: Code,
    cause: Bytes,
    /// Of the tree; 0: it was not looked at.
    index: u64,
    status: StatusCode,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    error_code: u16,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cause: &'a str,
    index: u64,
}

impl Refused {
    pub(super) fn into_response(self) -> Response {
        let (error_code, message, _) = self.code.entry();
        let cause = json::text(&self.cause);
        let body = Body { error_code, message, cause: &cause, index: self.index };
        let mut response = json::response(self.status, &body);
        let headers = response.headers_mut();
        headers.insert(json::ETCD_INDEX, self.index.into());
        response
    }

    fn with_status(self, status: StatusCode) -> Refused {
        Refused { status, ..self }
    }

    /// While auth is on: its users are not those of the v2 API.
    pub(super) fn unauthorized() -> Refused {
        Code::Unauthorized
            .because("auth is enabled, and the v2 API has no users of its own here: use the v3 API")
    }

    pub(super) fn too_large() -> Refused {
        let cause = grpc::text(grpc::Error::RequestTooLarge);
        Code::InvalidForm.because(cause).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        let Refusal { reason, mut cause, index } = refusal;
        let code = match reason {
            Reason::KeyNotFound => Code::KeyNotFound,
            Reason::CompareFailed => Code::CompareFailed,
            Reason::NotFile => Code::NotFile,
            Reason::NotDir => Code::NotDir,
            Reason::NodeExists => Code::NodeExists,
            Reason::RootReadOnly => Code::RootReadOnly,
            Reason::DirNotEmpty => Code::DirNotEmpty,
            Reason::HistoryCleared => Code::HistoryCleared,
            Reason::PathTooLong => {
                let (names, bytes) = (store::v2::DEPTH_MAX, store::v2::PATH_BYTES_MAX);
                cause = format!("a key has at most {names} names and {bytes} bytes").into();
                Code::InvalidField
            }
            Reason::UnknownAction => Code::RaftInternal,
        };
        Refused { index, ..code.because(cause) }
    }
}

impl From<grpc::Error> for Refused {
    /// What the log or the state machine could not do.
    fn from(error: grpc::Error) -> Refused {
        let status = match &error {
            grpc::Error::RequestTooLarge => return Refused::too_large(),
            grpc::Error::Store(store::Error::UserEmpty) => return Refused::unauthorized(),
            grpc::Error::Store(store::Error::NoSpace) => StatusCode::INSUFFICIENT_STORAGE,
            grpc::Error::Raft(raft::Error::TooManyRequests)
            | grpc::Error::NotSupportedForLearner => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Code::RaftInternal.because(grpc::text(error)).with_status(status)
    }
}
