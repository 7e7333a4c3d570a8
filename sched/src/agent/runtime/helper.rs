//! This very program under a hidden command, as a process that goes on without the agent.

use std::io::{ErrorKind, Write};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::process::Process;
use super::{Error, Result, error_while};

/// What it says to whoever started it, once it does what it is for.
pub(super) const RUNS: &str = "runs";
/// How long it may take to say so.
pub(super) const STARTS_MAX: Duration = Duration::from_secs(30);

/// Starts one and waits until it says that it runs.
pub(super) async fn started(mut command: Command, stdin: Stdio, what: &str) -> Result<Process> {
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::null());
    let starting = || error_while(format!("starting {what}"));
    let mut child = command.spawn().map_err(starting())?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let process = pid.and_then(Process::of);
    let stdout = child.stdout.take().ok_or_else(|| Error::failed("no pipe"))?;
    let mut line = String::new();
    let mut stdout = BufReader::new(stdout);
    let said = tokio::time::timeout(STARTS_MAX, stdout.read_line(&mut line)).await;
    // It is waited for once it has ended, lest it stays as a zombie.
    tokio::spawn(async move { child.wait().await });
    match (said, process) {
        (Ok(Ok(_)), Some(process)) if line.trim_end() == RUNS => Ok(process),
        (Ok(Ok(_)), _) if !line.is_empty() => Err(Error::failed(line.trim_end())),
        (Ok(Err(error)), _) if error.kind() != ErrorKind::UnexpectedEof => Err(starting()(error)),
        _ => Err(Error::failed(format!("{what} does not start"))),
    }
}

/// Its side: says one line, [`RUNS`] or why it does not.
///
/// # Errors
/// Nobody listens.
pub(super) fn say(line: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", line.replace('\n', " "))?;
    stdout.flush()
}
