//! `berth ctl`: etcdctl's commands, flags and outputs.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs one command; `args` are those after `ctl`.
pub fn run(args: Vec<OsString>) -> ExitCode {
    eprintln!("berth ctl: unknown command {args:?}");
    ExitCode::from(1)
}
