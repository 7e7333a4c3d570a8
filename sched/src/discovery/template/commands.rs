//! Check and reload commands.

use std::path::Path;
use std::time::Duration;

use crate::discovery::shell;

/// No check or reload takes longer; one that does is killed, with all that it started.
const COMMAND_MAX: Duration = Duration::from_secs(60);

/// Runs a command by `sh -c`, with the file's path in the place of `{{.src}}`.
///
/// # Errors
/// How it ended and what it said, if not with status 0.
pub(super) async fn run(command: &str, src: &Path) -> Result<(), String> {
    let line = with_src(command, src);
    let output = match tokio::time::timeout(COMMAND_MAX, shell::run(&line)).await {
        Ok(output) => output?,
        Err(_) => return Err(format!("`{line}` takes more than {} s", COMMAND_MAX.as_secs())),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("`{line}`: {}: {}", output.status, String::from_utf8_lossy(&said).trim()))
}

/// confd writes `{{.src}}`, with or without spaces; so do people who know Jinja, without the dot.
fn with_src(command: &str, src: &Path) -> String {
    let src = src.to_string_lossy();
    let marks = ["{{.src}}", "{{ .src }}", "{{src}}", "{{ src }}"];
    marks.iter().fold(command.to_owned(), |command, mark| command.replace(mark, &src))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn commands_get_the_file_and_tell_what_is_wrong() {
        // Proves the place of the file's path, and that a failure has the command's words.
        let src = Path::new("/x/y");
        assert_eq!(run("test {{.src}}{{ src }} = /x/y/x/y", src).await, Ok(()));
        let error = run("echo bad line 3 >&2; exit 2", src).await.unwrap_err();
        assert!(error.contains("bad line 3") && error.contains('2'), "{error}");
    }
}
