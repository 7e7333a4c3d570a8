//! One line for `sh`, how it ended and the beginning of what it said.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::group::Group;

/// What is kept of each output: enough to tell what is wrong.
const WORDS_BYTES_MAX: usize = 8 << 10;
/// How long the outputs may stay open after `sh` has ended: whoever still has them open is another
/// process, and says nothing about this one.
const WORDS_WAIT_MAX: Duration = Duration::from_millis(200);

/// Runs `sh -c LINE`. Dropping the future kills it, with all that it started; what goes on after it
/// has ended is left alone.
///
/// # Errors
/// It does not start.
pub(super) async fn run(line: &str) -> Result<Output, String> {
    let fail = |error: std::io::Error| format!("sh does not start: {error}");
    let mut command = Command::new("sh");
    command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = Group::start(&mut command).map_err(fail)?;
    let (stdout, stderr) = (group.leader().stdout.take(), group.leader().stderr.take());
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let status = {
        let words =
            async { tokio::join!(listen(stdout, &mut said), listen(stderr, &mut complained)) };
        let mut words = std::pin::pin!(words);
        tokio::select! {
            _ = &mut words => group.leader_ended().await,
            status = group.leader_ended() => {
                // Whether or not they end: what was said until now is what there is.
                let _ = tokio::time::timeout(WORDS_WAIT_MAX, words).await;
                status
            }
        }
    };
    group.let_go();
    Ok(Output { status: status.map_err(fail)?, stdout: said, stderr: complained })
}

/// Reads to the end and keeps the beginning: nobody who says a lot must wait for a reader.
async fn listen(output: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut output) = output else { return };
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        let room = WORDS_BYTES_MAX - kept.len();
        kept.extend_from_slice(&buffer[..read.min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::group::tests::{pid_in, until_gone};

    #[tokio::test]
    async fn outputs_are_bounded_and_may_stay_open() {
        // Proves that of many words the first are kept, and that neither their number nor a process
        // that keeps the output open holds up the end.
        let output = run("head -c 1000000 /dev/zero; echo wrong >&2; exit 3").await.unwrap();
        assert_eq!((output.stdout.len(), output.stderr), (WORDS_BYTES_MAX, b"wrong\n".to_vec()));
        assert_eq!(output.status.code(), Some(3));
        let background = tokio::time::timeout(Duration::from_secs(50), run("sleep 60 & echo $!"));
        let output = background.await.expect("before the sleep ends").unwrap();
        let pid: i32 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("left alone");
    }

    #[tokio::test]
    async fn what_is_dropped_ends_with_all_that_it_started() {
        // Proves that the processes of a command that takes too long are killed with it.
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = format!("sleep 600 & echo $! > {}; wait", file.path().display());
        let running = tokio::spawn(async move { run(&line).await });
        let pid = pid_in(file.path()).await;
        running.abort();
        until_gone(pid).await;
    }
}
