//! Why a call failed, and what the caller can do about it.

use std::fmt;

use tonic::{Code, Status};

/// What every call returns.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed call: what to do, and a line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
}

/// What the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No answer in time, from nobody. Try again; a write may have happened.
    Unreachable,
    /// The history asked for is gone: list, then go on from there.
    Compacted,
    /// The lease is gone: take a new one.
    NoLease,
    /// The store refuses; the same again is refused again.
    Refused,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, message)
    }

    pub(crate) fn compacted(revision: i64) -> Self {
        Self::new(Kind::Compacted, format!("revisions before {revision} have been compacted"))
    }

    /// Whether waiting may help.
    pub fn is_passing(&self) -> bool {
        self.kind == Kind::Unreachable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let kind = match (status.code(), status.message()) {
            (_, message) if message.contains("required revision has been compacted") => {
                Kind::Compacted
            }
            (_, message) if message.contains("requested lease not found") => Kind::NoLease,
            (code, message) if is_passing(code, message) => Kind::Unreachable,
            _ => Kind::Refused,
        };
        let message = match status.message() {
            "" => format!("{:?}", status.code()),
            message => message.to_owned(),
        };
        Self { kind, message: format!("{message}{}", cause(&status)) }
    }
}

/// Whether the same call may be answered later, or by another member.
fn is_passing(code: Code, message: &str) -> bool {
    match code {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => true,
        // tonic says so of connections that broke under way.
        Code::Unknown | Code::Internal => !message.starts_with("etcdserver: "),
        Code::ResourceExhausted => message.contains("too many requests"),
        _ => false,
    }
}

/// The innermost cause, where it says more: "connection refused" rather than "transport error".
fn cause(status: &Status) -> String {
    let mut last: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(next) = last.and_then(std::error::Error::source) {
        last = Some(next);
    }
    last.map(|cause| format!(": {cause}")).unwrap_or_default()
}
