//! A command ends with status 0.

use crate::discovery::shell;

/// The command and what it started are killed when the future is dropped.
pub(super) async fn ask(command: &str) -> Result<(), String> {
    let output = shell::run(command).await?;
    if output.status.success() {
        return Ok(());
    }
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&said).trim()))
}
