//! A command ends with status 0.

use std::process::Stdio;

use tokio::process::Command;

/// The command is killed when the future is dropped.
pub(super) async fn ask(command: &str) -> Result<(), String> {
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("sh does not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&said).trim()))
}
