//! How a command ended that was run for somebody, in the words of Go's `os/exec`.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::quote::quote;

/// Why `program` did not start.
pub(super) fn not_started(program: &OsStr, error: &io::Error) -> String {
    let name = program.as_bytes();
    if name.contains(&b'/') {
        let cause = match error.kind() {
            ErrorKind::NotFound => "no such file or directory".to_owned(),
            ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        return format!("fork/exec {}: {cause}", program.display());
    }
    let cause = match error.kind() {
        ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
        _ => error.to_string(),
    };
    format!("exec: {}: {cause}", quote(name))
}

/// # Errors
/// What is said of an end that is no success.
pub(super) fn outcome(status: ExitStatus) -> Result<(), String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(format!("exit status {code}")),
        (None, Some(signal)) => Err(format!("signal: {}", signal_name(signal))),
        (None, None) => Err(status.to_string()),
    }
}

/// As `strsignal` of libc and Go have it, for those that end processes on purpose.
fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        6 => "aborted",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_as_by_go() {
        // Proves the words for ends and for what cannot be started.
        let ended = |raw: i32| outcome(ExitStatus::from_raw(raw));
        assert_eq!(ended(0), Ok(()));
        assert_eq!(ended(3 << 8), Err("exit status 3".to_owned()));
        assert_eq!(ended(9), Err("signal: killed".to_owned()));
        assert_eq!(ended(40), Err("signal: signal 40".to_owned()));
        let missing = io::Error::from(ErrorKind::NotFound);
        let told = not_started(OsStr::new("nothing"), &missing);
        assert_eq!(told, "exec: \"nothing\": executable file not found in $PATH");
        let told = not_started(OsStr::new("/no/thing"), &missing);
        assert_eq!(told, "fork/exec /no/thing: no such file or directory");
    }
}
