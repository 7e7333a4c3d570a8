//! A command that runs beside its registration: found while it runs, gone before it stops.

use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;

use crate::discovery::group::Group;

/// What to run, and how it ends.
#[derive(Clone, Debug)]
pub struct Supervised {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Between being deregistered and being told to stop: for those who have yet to hear of it.
    pub drain: Duration,
    /// Between being told to stop and being killed.
    pub grace: Duration,
}

/// The command while it runs, in a process group of its own, so that a key press on the terminal
/// reaches it only through us, after it was deregistered.
#[derive(Debug)]
pub struct Running {
    group: Group,
    drain: Duration,
    grace: Duration,
}

impl Supervised {
    /// # Errors
    /// The program cannot be started.
    pub fn start(&self) -> Result<Running, String> {
        let (program, arguments) =
            self.command.split_first().ok_or("there is no command to run".to_owned())?;
        let group = Group::start(Command::new(program).args(arguments))
            .map_err(|error| format!("cannot run {program:?}: {error}"))?;
        Ok(Running { group, drain: self.drain, grace: self.grace })
    }
}

impl Running {
    /// The status the command ends with by itself; what it started ends with it. Cancel safe.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.group.leader_ended().await;
        self.group.kill();
        status
    }

    /// Lets it go on for the drain time, unless it ends before, or `hurry` resolves.
    pub async fn drain(&mut self, hurry: impl Future<Output = ()>) {
        tokio::select! {
            _ = self.group.leader_ended() => {}
            () = tokio::time::sleep(self.drain) => {}
            () = hurry => {}
        }
    }

    /// Asks the command and all that it started to end, and kills what has not ended after the grace
    /// time, or when `hurry` resolves.
    pub async fn stop(mut self, hurry: impl Future<Output = ()>) -> std::io::Result<ExitStatus> {
        self.group.signal(Signal::TERM);
        tokio::select! {
            status = self.group.ended() => return status,
            () = tokio::time::sleep(self.grace) => {}
            () = hurry => {}
        }
        tracing::warn!("the command does not end; killing it");
        self.group.kill();
        self.group.leader_ended().await
    }
}

/// The exit code that a shell would give: the command's own, or 128 and its signal.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::discovery::group::tests::{pid_in, until_gone};

    const LONG: Duration = Duration::from_secs(600);

    /// A command that is told to stop in a hurry while it drains, and the number of its child, which
    /// it wrote into a file when it was ready. The file is whoever holds the returned one's.
    async fn hurried(script: &str) -> (Running, i32, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = script.replace("FILE", &file.path().display().to_string());
        let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let mut running = Supervised { command, drain: LONG, grace: LONG }.start().unwrap();
        let pid = pid_in(file.path()).await;
        running.drain(ready(())).await;
        (running, pid, file)
    }

    #[tokio::test]
    async fn a_hurried_command_still_ends_by_itself() {
        // Proves that what cuts the drain time short does not cut the grace time too, and that the
        // grace is for all that the command started.
        let (running, pid, file) = hurried(
            "trap 'exit 7' TERM; sh -c 'trap \"sleep 0.3; echo bye > FILE; exit\" TERM; \
             echo $$ > FILE; while :; do sleep 0.05; done' & while :; do sleep 0.05; done",
        )
        .await;
        assert_eq!(exit_code(running.stop(pending()).await.unwrap()), 7);
        until_gone(pid).await;
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "bye\n");
    }

    #[tokio::test]
    async fn a_command_that_does_not_listen_is_killed_with_its_children() {
        // Proves that a second hurry ends the command and all that it started.
        let script = "trap '' TERM; sleep 600 & echo $! > FILE; while :; do sleep 0.05; done";
        let (running, pid, _file) = hurried(script).await;
        assert_eq!(exit_code(running.stop(ready(())).await.unwrap()), 137);
        until_gone(pid).await;
    }

    #[tokio::test]
    async fn nothing_outlives_a_command_that_has_ended() {
        // Proves that children go with the command that ends by itself, and with one that nobody
        // holds any more.
        for (end, dropped) in [("exit 3", false), ("wait", true)] {
            let script = format!("sleep 600 & echo $! > FILE; {end}");
            let (mut running, pid, _file) = hurried(&script).await;
            if dropped {
                drop(running);
            } else {
                assert_eq!(exit_code(running.ended().await.unwrap()), 3);
            }
            until_gone(pid).await;
        }
    }
}
