//! The life of one server, from flags to exit.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the server until it is told to stop; `args` are those after `serve`.
pub fn run(args: Vec<OsString>) -> ExitCode {
    eprintln!("berth serve: unknown flag {args:?}");
    ExitCode::from(2)
}
