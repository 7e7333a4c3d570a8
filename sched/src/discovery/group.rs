//! A command and all that it starts: one process group, which ends as a whole.
//!
//! Killing `sh` alone leaves what it runs behind, with its ports and files; whatever we start must
//! not outlive our interest in it.

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::{Child, Command};

/// Between two looks at whether a group is empty: its processes are not ours to wait for.
const LOOK: Duration = Duration::from_millis(20);

/// A process group; killed when dropped, unless it was let go.
#[derive(Debug)]
pub(super) struct Group {
    leader: Child,
    /// `None`: it has ended, or was let go, and the number may be somebody else's.
    id: Option<Pid>,
}

impl Group {
    /// Starts a command as the leader of a group of its own. Must be called within a runtime.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let leader = command.process_group(0).kill_on_drop(true).spawn()?;
        let id = leader.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { leader, id })
    }

    /// For its pipes.
    pub(super) fn leader(&mut self) -> &mut Child {
        &mut self.leader
    }

    /// The status that the leader ends with. Cancel safe; the rest of the group may go on.
    pub(super) async fn leader_ended(&mut self) -> io::Result<ExitStatus> {
        self.leader.wait().await
    }

    /// The same, once no process of the group is alive. Cancel safe.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.leader_ended().await?;
        while self.id.is_some_and(is_alive) {
            tokio::time::sleep(LOOK).await;
        }
        Ok(status)
    }

    /// Sends a signal to every process of the group.
    pub(super) fn signal(&self, signal: Signal) {
        let Some(id) = self.id else { return };
        match kill_process_group(id, signal) {
            // Nobody is left.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::warn!("cannot signal the command: {error}"),
        }
    }

    /// Kills whatever is left of it.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.id = None;
    }

    /// Leaves alone what the leader, which has ended, started for others.
    pub(super) fn let_go(mut self) {
        self.id = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process of the group is alive. One that has ended may still be there, for a parent that
/// never asks: in many containers nobody does.
fn is_alive(group: Pid) -> bool {
    let processes = || std::fs::read_dir("/proc").into_iter().flatten().flatten();
    test_kill_process_group(group).is_ok()
        && processes().any(|process| is_alive_in(&process.path(), group))
}

fn is_alive_in(process: &Path, group: Pid) -> bool {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    // proc_pid_stat(5): number, (name), state, parent, group. A name may have parentheses.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let (state, _, id) = (fields.next(), fields.next(), fields.next());
    id == Some(&group.as_raw_nonzero().to_string()) && !matches!(state, Some("Z" | "X"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The number that a script wrote into a file, as soon as it is there.
    pub(crate) async fn pid_in(file: &Path) -> i32 {
        for _ in 0..3000 {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            if let Some(pid) = text.strip_suffix('\n') {
                return pid.parse().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} stays empty", file.display());
    }

    /// Waits until a process is gone, or is only waited for.
    pub(crate) async fn until_gone(pid: i32) {
        for _ in 0..3000 {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {pid} is still there");
    }
}
