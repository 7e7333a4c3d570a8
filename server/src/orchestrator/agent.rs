//! `berth agent`.

use std::ffi::OsString;
use std::process::ExitCode;

/// Where an agent keeps what it runs, unless told otherwise.
pub(super) const DEFAULT_ROOT: &str = "/var/lib/berth/agent";

/// Runs `berth agent ARGS`.
pub fn run(_args: Vec<OsString>) -> ExitCode {
    ExitCode::FAILURE
}
