//! A child process that writes a log and dies with its owner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// How much of a log a failure message shows.
const LOG_LINES: usize = 20;

/// A process, or the place of one that is not running now.
#[derive(Debug)]
pub(crate) struct Process {
    log: PathBuf,
    /// Where the log of this life begins, in bytes.
    log_start: usize,
    child: Option<Child>,
}

impl Process {
    /// Nothing runs yet. `log` is appended to by every life of the process.
    pub(crate) fn new(log: PathBuf) -> Self {
        Self { log, log_start: 0, child: None }
    }

    /// Starts `command` with its output in the log.
    ///
    /// # Errors
    /// When the program cannot be run at all.
    pub(crate) fn start(&mut self, mut command: Command) -> Result<(), String> {
        assert!(self.child.is_none(), "kill or terminate the process before another start");
        self.log_start = std::fs::read(&self.log).map_or(0, |log| log.len());
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.expect("the log file opens");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log file can be shared"))
            .stderr(log);
        let child = command.spawn().map_err(|error| {
            format!("{} does not start: {error}", Path::new(command.get_program()).display())
        })?;
        self.child = Some(child);
        Ok(())
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The status it ended with by itself, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().expect("our own child"))
    }

    /// SIGKILL, and waits for the process to be gone; ends a stopped process as well.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// Sends a signal by its name (`STOP`, `CONT`, `TERM`).
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().expect("the process runs");
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(sent.expect("sh runs").success(), "cannot send SIG{name} to {pid}");
    }

    /// SIGTERM, and the status it ends with.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        let mut child = self.child.take().expect("the process runs");
        child.wait().expect("our own child can be waited for")
    }

    /// What it has logged since it was started last.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[self.log_start..]).into_owned()
    }

    /// What the log says of a crash, if the process is gone or one of its tasks has crashed.
    pub(crate) fn crash(&mut self) -> Option<String> {
        let log = self.log_tail();
        (log.contains("panic") || !self.is_running()).then_some(log)
    }

    /// The last lines of its log, of whichever life, for failure messages.
    pub(crate) fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        // A crash ends with a long trace; what the program died of stands before it.
        let deaths = lines.iter().filter(|line| line.contains("panic"));
        deaths.chain(tail).map(|line| format!("{line}\n")).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
