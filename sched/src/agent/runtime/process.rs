//! Processes that outlive whoever started them, told apart from later ones of the same number.

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// A process that was started on this machine since it booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// Clock ticks since the machine booted; a number is not given twice at the same tick.
    start_ticks: u64,
    boot_id: String,
}

impl Process {
    /// `None`: there is no such process.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(Self { pid, start_ticks: stat(pid)?.1, boot_id })
    }

    /// Whether it still runs. One that has ended and is not waited for yet does not.
    pub(super) fn is_alive(&self) -> bool {
        let is_same = Self::of(self.pid).as_ref() == Some(self);
        is_same && stat(self.pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
    }

    /// Sends a signal, unless it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            // It may have ended just now.
            let _ = kill_process(pid, signal);
        }
    }

    /// Resolves when it has ended. Cancel safe.
    pub(super) async fn ended(&self) {
        use rustix::process::{PidfdFlags, pidfd_open};
        use tokio::io::Interest;
        use tokio::io::unix::AsyncFd;
        let pid = Pid::from_raw(self.pid).filter(|_| self.is_alive());
        let Some(descriptor) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::NONBLOCK).ok())
        else {
            return self.looked_at().await;
        };
        #[expect(deprecated, reason = "its flaw is with types that are not as strict as OwnedFd")]
        let watched = AsyncFd::with_interest(descriptor, Interest::READABLE);
        match watched {
            // The number may have passed on before it was opened.
            Ok(ready) if self.is_alive() => {
                if ready.readable().await.is_err() {
                    self.looked_at().await;
                }
            }
            _ => self.looked_at().await,
        }
    }

    async fn looked_at(&self) {
        while self.is_alive() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

/// State and start time: proc_pid_stat(5).
fn stat(pid: i32) -> Option<(char, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may have parentheses.
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_told_from_another_and_its_end_is_seen() {
        // Proves that a process is known again, that its end resolves, and that it is gone then.
        let mut child = tokio::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        let process = Process::of(pid).unwrap();
        assert!(process.is_alive());
        let other = Process { start_ticks: process.start_ticks + 1, ..process.clone() };
        assert!(!other.is_alive());
        other.signal(Signal::KILL);
        assert!(process.is_alive());
        process.signal(Signal::KILL);
        process.ended().await;
        assert!(!process.is_alive());
        child.wait().await.unwrap();
    }
}
