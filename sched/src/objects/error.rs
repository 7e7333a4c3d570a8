//! Why an object was not read or written, and what the caller can do about it.

use std::fmt;

use crate::kv;

pub type Result<T> = std::result::Result<T, Error>;

/// A failed call: what to do, and a line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
}

/// What the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nothing: there is an object of this name.
    AlreadyExists,
    /// There is no such object (any more).
    NotFound,
    /// Somebody else was faster: read again and decide again.
    Conflict,
    /// The right to write is lost: stop.
    Fenced,
    /// The document is not one of its kind.
    Invalid,
    /// What is stored is not one of its kind: somebody must mend or delete the key.
    Unreadable,
    /// The store's own.
    Store(kv::Kind),
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Whether the same again, after a pause, may succeed.
    pub fn is_passing(&self) -> bool {
        self.kind == ErrorKind::Store(kv::Kind::Unreachable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<kv::Error> for Error {
    fn from(error: kv::Error) -> Self {
        Self { kind: ErrorKind::Store(error.kind), message: error.message }
    }
}
