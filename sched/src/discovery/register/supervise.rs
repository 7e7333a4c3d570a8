//! A command that runs beside its registration: found while it runs, gone before it stops.

use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

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
    child: Child,
    drain: Duration,
    grace: Duration,
}

impl Supervised {
    /// # Errors
    /// The program cannot be started.
    pub fn start(&self) -> Result<Running, String> {
        let (program, arguments) =
            self.command.split_first().ok_or("there is no command to run".to_owned())?;
        let child = Command::new(program)
            .args(arguments)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run {program:?}: {error}"))?;
        Ok(Running { child, drain: self.drain, grace: self.grace })
    }
}

impl Running {
    /// The status the command ends with by itself. Cancel safe.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Waits out the drain time, asks the command to end, and kills it if it does not; `hurry`
    /// cuts the waiting short.
    pub async fn stop(mut self, hurry: impl Future<Output = ()>) -> std::io::Result<ExitStatus> {
        let mut hurry = std::pin::pin!(hurry);
        tokio::select! {
            status = self.child.wait() => return status,
            () = tokio::time::sleep(self.drain) => {}
            () = &mut hurry => {}
        }
        self.signal(Signal::TERM);
        tokio::select! {
            status = self.child.wait() => return status,
            () = tokio::time::sleep(self.grace) => {}
            () = &mut hurry => {}
        }
        tracing::warn!("the command does not end; killing it");
        self.signal(Signal::KILL);
        self.child.wait().await
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process_group(pid, signal)
        {
            tracing::warn!("cannot signal the command: {error}");
        }
    }
}

/// The exit code that a shell would give: the command's own, or 128 and its signal.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
