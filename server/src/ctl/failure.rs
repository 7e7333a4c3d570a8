//! How a command fails: a message for the person and etcdctl's exit status for the script.

use tonic::{Code, Status};

/// The server refused, or could not be reached.
pub(crate) const EXIT_ERROR: u8 = 1;
/// The answer said that the thing asked about is not there any more.
pub(crate) const EXIT_BAD_CONNECTION: u8 = 2;
/// What was read from standard input is no command.
pub(crate) const EXIT_INVALID_INPUT: u8 = 3;
/// The input was understood but asks for something that does not exist.
pub(crate) const EXIT_BAD_FEATURE: u8 = 4;
/// A watch ended before it was told to.
pub(crate) const EXIT_INTERRUPTED: u8 = 5;
/// A file could not be read or written.
pub(crate) const EXIT_IO: u8 = 6;
/// Wrong arguments.
pub(crate) const EXIT_BAD_ARGS: u8 = 128;

/// What every verb returns.
pub(crate) type Outcome = Result<(), Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit_code: u8,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit_code: u8, message: impl Into<String>) -> Self {
        Self { exit_code, message: message.into() }
    }

    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::new(EXIT_ERROR, message)
    }

    /// All that there is to say has been printed.
    pub(crate) fn silent() -> Self {
        Self::error("")
    }

    pub(crate) fn bad_args(message: impl Into<String>) -> Self {
        Self::new(EXIT_BAD_ARGS, message)
    }

    pub(crate) fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(EXIT_INVALID_INPUT, message)
    }

    pub(crate) fn bad_feature(message: impl Into<String>) -> Self {
        Self::new(EXIT_BAD_FEATURE, message)
    }

    pub(crate) fn io(what: &str, error: &std::io::Error) -> Self {
        Self::new(EXIT_IO, format!("{what}: {error}"))
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let message = match status.code() {
            Code::DeadlineExceeded => "context deadline exceeded".to_owned(),
            _ => status.message().to_owned(),
        };
        Self::error(message)
    }
}
