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
    /// No answer in time, or from nobody who can do it at this moment. Try again; a write may have
    /// happened.
    Unreachable,
    /// The history asked for is gone: list, then go on from there.
    Compacted,
    /// The lease is gone: take a new one.
    NoLease,
    /// The store refuses; the same again is refused again.
    Refused,
    /// The store fails for a reason of its own, which may last.
    Failed,
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
            (Code::PermissionDenied | Code::InvalidArgument | Code::Unauthenticated, _) => {
                Kind::Refused
            }
            _ => Kind::Failed,
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
        // Alarms, until somebody makes room or replaces a member.
        Code::ResourceExhausted => ["too many requests", "database space exceeded"]
            .iter()
            .any(|text| message.contains(text)),
        Code::DataLoss => message.contains("corrupt cluster"),
        _ => is_by_learner(message),
    }
}

/// Whether a member refused because it does not vote: it has done nothing, and another one may.
pub(super) fn is_by_learner(message: &str) -> bool {
    message.contains("rpc not supported for learner")
}

/// The innermost cause, where it says more: "connection refused" rather than "transport error".
fn cause(status: &Status) -> String {
    let mut last: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(next) = last.and_then(std::error::Error::source) {
        last = Some(next);
    }
    last.map(|cause| format!(": {cause}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_last_and_alarms_pass() {
        // Proves which answers of etcd are worth another try, and which are the asker's fault.
        for (code, message, kind) in [
            (Code::Unavailable, "etcdserver: no leader", Kind::Unreachable),
            (Code::Unknown, "transport error", Kind::Unreachable),
            (Code::ResourceExhausted, "etcdserver: too many requests", Kind::Unreachable),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                Kind::Unreachable,
            ),
            (Code::DataLoss, "etcdserver: corrupt cluster", Kind::Unreachable),
            (
                Code::FailedPrecondition,
                "etcdserver: rpc not supported for learner",
                Kind::Unreachable,
            ),
            (Code::NotFound, "etcdserver: requested lease not found", Kind::NoLease),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                Kind::Compacted,
            ),
            (Code::PermissionDenied, "etcdserver: permission denied", Kind::Refused),
            (Code::InvalidArgument, "etcdserver: key is not provided", Kind::Refused),
            (Code::ResourceExhausted, "message too large", Kind::Failed),
            (Code::Unknown, "etcdserver: something new", Kind::Failed),
        ] {
            assert_eq!(Error::from(Status::new(code, message)).kind, kind, "{message}");
        }
    }
}
