//! Containers that end by themselves before the node's lease does, whether an agent lives or not.
//!
//! The agent writes with each renewal until when they may run (`ROOT/fence`), and beside each pod
//! whether that is for it (`pods/UID/fenced`: others would start it); the shim of each container
//! looks. An agent that comes back in time finds them running.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use super::process::Process;
use crate::agent::runtime::fence::{GRACE, now, sleep_until};

/// Between two looks of a shim that has nothing to wait for.
const LOOK: Duration = Duration::from_secs(1);

/// The agent's side.
pub(super) struct Fence {
    path: PathBuf,
    /// Opened with the first renewal; the latest time that was told.
    state: Mutex<(Option<File>, Duration)>,
}

impl Fence {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default() }
    }

    /// Containers may run until then; never less than was said before. Blocks.
    ///
    /// # Errors
    /// As for writing.
    pub(super) fn set(&self, until: Duration) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 = state.1.max(until);
        let milliseconds = u64::try_from(state.1.as_millis()).unwrap_or(u64::MAX);
        let file = match state.0.take() {
            Some(file) => file,
            None => File::options().write(true).create(true).truncate(false).open(&self.path)?,
        };
        // In place: it needs no room on a disk that is full, and 8 bytes are read as a whole.
        file.write_all_at(&milliseconds.to_le_bytes(), 0)?;
        state.0 = Some(file);
        Ok(())
    }
}

/// `None`: nobody has said.
fn read(path: &Path) -> Option<Duration> {
    let mut bytes = [0; 8];
    File::open(path).ok()?.read_exact_at(&mut bytes, 0).ok()?;
    Some(Duration::from_millis(u64::from_le_bytes(bytes)))
}

/// Says whether the containers of a pod are to end so.
///
/// # Errors
/// As for writing.
pub(super) fn mark(path: &Path, is_fenced: bool) -> io::Result<()> {
    if is_fenced {
        return File::create(path).map(drop);
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The shim's side: what it ends, and how it knows when.
pub(super) struct Guarded {
    pub(super) init: Process,
    pub(super) signal: Signal,
    pub(super) fence: PathBuf,
    /// The mark of its pod.
    pub(super) mark: PathBuf,
}

impl Guarded {
    /// Waits until it may run no more, asks it to end, and kills it.
    pub(super) fn watch(&self) {
        loop {
            match read(&self.fence).filter(|until| now() < *until) {
                Some(until) => sleep_until(until),
                None if self.mark.exists() => break,
                None => std::thread::sleep(LOOK),
            }
        }
        self.init.signal(self.signal);
        std::thread::sleep(GRACE);
        self.init.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fenced_ends_when_nobody_renews_and_not_before() {
        // Proves that a process goes on while its time is renewed, ends when that stops, and that
        // one which nobody would start elsewhere goes on.
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let fence = Fence::new(path("fence"));
        fence.set(now() + Duration::from_secs(3600)).unwrap();
        fence.set(now()).unwrap();
        assert!(read(&path("fence")).unwrap() > now() + Duration::from_secs(3000));

        let start = || std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let (mut fenced, mut free) = (start(), start());
        let guarded = |child: &std::process::Child, mark: &str| Guarded {
            init: Process::of(i32::try_from(child.id()).unwrap()).unwrap(),
            signal: Signal::TERM,
            fence: path("own"),
            mark: path(mark),
        };
        let own = Fence::new(path("own"));
        let first = now() + Duration::from_secs(1);
        own.set(first).unwrap();
        mark(&path("fenced"), true).unwrap();
        mark(&path("free"), true).unwrap();
        mark(&path("free"), false).unwrap();
        let one = guarded(&fenced, "fenced");
        let other = guarded(&free, "free");
        let watching = std::thread::spawn(move || one.watch());
        // It ends with the test.
        std::thread::spawn(move || other.watch());
        let last = now() + Duration::from_secs(2);
        own.set(last).unwrap();
        let is_in_time = now() < first;
        let status = fenced.wait().unwrap();
        assert!(now() >= last || !is_in_time, "it ended before its time");
        assert!(!status.success());
        watching.join().unwrap();
        assert!(free.try_wait().unwrap().is_none(), "nobody else would start it");
        free.kill().unwrap();
        free.wait().unwrap();
    }
}
