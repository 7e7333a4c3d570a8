//! Why the node could not do something, by what the caller can do about it.

use std::fmt;

use openraft::RaftTypeConfig;
use openraft::errors::{Fatal, LinearizableReadError, RaftError};

use crate::codec;

/// Retry, slow down, or give up. What the state machine answered to a command is not here: it is
/// in [`store::Applied::result`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// This member does not lead, and was asked as if it did.
    NoLeader,
    /// The leader changed while the command was on its way: it may have been applied or not.
    LeaderChanged,
    /// No answer in time: the command may be applied yet.
    Timeout,
    /// The node is shutting down.
    Stopped,
    /// Too many bytes of commands are in flight. Slow down and retry.
    TooManyRequests,
    /// The node cannot start on this configuration or these directories: the message says what to
    /// change. Nothing was changed on disk.
    Refused(String),
    /// The node failed and cannot go on: the process must end with an error. The message says what
    /// to do.
    Fatal(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoLeader => f.write_str("no leader"),
            Error::LeaderChanged => f.write_str("leader changed"),
            Error::Timeout => f.write_str("request timed out"),
            Error::Stopped => f.write_str("server stopped"),
            Error::TooManyRequests => f.write_str("too many requests"),
            Error::Refused(message) | Error::Fatal(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    pub(crate) fn of_fatal<C: RaftTypeConfig>(fatal: &Fatal<C>) -> Error {
        match fatal {
            Fatal::Stopped => Error::Stopped,
            fatal => Error::Fatal(with_advice(fatal)),
        }
    }

    pub(crate) fn of_read<C: RaftTypeConfig>(
        error: RaftError<C, LinearizableReadError<C>>,
    ) -> Error {
        match error {
            RaftError::Fatal(fatal) => Error::of_fatal(&fatal),
            RaftError::APIError(_) => Error::NoLeader,
        }
    }
}

/// What ended consensus or log, and what to do about it.
pub(crate) fn with_advice(cause: &dyn fmt::Display) -> String {
    let told = cause.to_string();
    if told.contains(codec::LATER_VERSION) {
        // Openraft has wrapped it in words about disks, and the disk is well.
        return format!("{told}. Nothing that was acknowledged is lost");
    }
    format!(
        "{cause}. Nothing that was acknowledged is lost. Check the disk (space, permissions, the \
         kernel's log), then start berth again"
    )
}
