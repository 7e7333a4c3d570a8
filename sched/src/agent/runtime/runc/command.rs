//! Programs of the system that are asked to do one thing.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::agent::runtime::{Error, Result};

/// Nothing that is asked of them takes long.
const TAKES_MAX: Duration = Duration::from_secs(30);

/// Runs a program to its end and returns what it said.
///
/// # Errors
/// It does not start, does not end in time, or fails; the message has its own words.
pub(crate) async fn run<A: AsRef<OsStr>>(program: &str, args: &[A]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let shown = || {
        let args: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
        format!("{program} {}", args.join(" "))
    };
    let output = tokio::time::timeout(TAKES_MAX, command.output())
        .await
        .map_err(|_| Error::failed(format!("{} takes too long", shown())))?
        .map_err(|error| Error::failed(format!("{program} does not start: {error}")))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::failed(format!("{}: {words}", shown())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
