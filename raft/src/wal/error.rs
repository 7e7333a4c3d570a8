//! What can go wrong with the log, by what the caller can do about it.

use std::fmt;
use std::io;
use std::sync::Arc;

/// What the caller can do about an [`Error`].
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Another process (or another handle here) has the directory: stop that one first.
    Locked,
    /// What is on disk cannot be the log that was written: give up, restore this member.
    Corrupt,
    /// The log was written by a newer berth: run that version.
    Version,
    /// A read, write or sync failed. For a write or sync the log is poisoned: stop the process.
    Io,
    /// The writer was stopped; nothing more is accepted.
    Stopped,
    /// The caller broke the order or the bounds of the log: a defect of the caller.
    Refused,
    /// The index was purged, or was never in the log.
    Missing,
}

/// A failure of the log. Cheap to clone: one failure is told to everyone who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: Arc<str>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into().into() }
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error.kind {
            ErrorKind::Locked => io::ErrorKind::WouldBlock,
            ErrorKind::Corrupt => io::ErrorKind::InvalidData,
            ErrorKind::Version => io::ErrorKind::Unsupported,
            ErrorKind::Io => io::ErrorKind::Other,
            ErrorKind::Stopped => io::ErrorKind::BrokenPipe,
            ErrorKind::Refused => io::ErrorKind::InvalidInput,
            ErrorKind::Missing => io::ErrorKind::NotFound,
        };
        io::Error::new(kind, error)
    }
}
