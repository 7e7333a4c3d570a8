//! What goes wrong, by what the mirror does about it.

use tonic::{Code, Status};

use crate::ctl::failure::{EXIT_BAD_ARGS, EXIT_BAD_FEATURE, Failure};

/// Why a session with the two sides ended.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It passes: connect again and go on from the checkpoint.
    Passing(String),
    /// The source no longer has what comes after the checkpoint: copy everything again.
    Compacted,
    /// The checkpoint is not what this mirror last wrote or read.
    Moved,
    /// It does not pass.
    Lasting(Failure),
}

pub(super) type Result<T> = std::result::Result<T, Trouble>;

impl Trouble {
    pub(super) fn lasting(message: impl Into<String>) -> Self {
        Self::Lasting(Failure::error(message))
    }

    /// A refusal by `side`, "the source" or "the destination".
    pub(super) fn of(side: &str, status: &Status) -> Self {
        let message = format!("{side}: {}", status.message());
        match status.code() {
            Code::OutOfRange if status.message().contains("compacted") => Self::Compacted,
            // A new connection brings a new token.
            _ if is_about_token(status.message()) => Self::Passing(message),
            Code::InvalidArgument | Code::PermissionDenied | Code::Unimplemented => {
                Self::lasting(format!("{message}{}", advice(status.message())))
            }
            _ => Self::Passing(message),
        }
    }

    /// A connection to `side` that does not come about.
    pub(super) fn of_connection(side: &str, failure: &Failure) -> Self {
        let message = format!("{side}: {}", failure.message);
        let lasting = matches!(failure.exit_code, EXIT_BAD_ARGS | EXIT_BAD_FEATURE)
            || failure.message.contains("authentication failed");
        if lasting {
            Self::Lasting(Failure::new(failure.exit_code, message))
        } else {
            Self::Passing(message)
        }
    }
}

fn is_about_token(message: &str) -> bool {
    message.contains("invalid auth token") || message.contains("auth store is old")
}

fn advice(message: &str) -> &'static str {
    if message.contains("too many operations") {
        "; give its --max-txn-ops as --max-txn-ops here"
    } else if message.contains("too large") {
        "; raise --max-request-bytes there"
    } else if message.contains("user name is empty") {
        "; give a user and a password"
    } else {
        ""
    }
}
