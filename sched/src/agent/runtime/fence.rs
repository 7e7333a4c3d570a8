//! Until when a node may run what others start as soon as its lease is over.
//!
//! The agent writes it to a file with each renewal, and marks by a file of its own each pod that it
//! is for (others would start it). Processes that outlive the agent look there, and see to it.
//!
//! Times are of `CLOCK_BOOTTIME`: it goes on while the machine sleeps, is the same for every process
//! of it, and nobody can set it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::{Result, error_while};

/// What containers get to end in when the node is losing its lease.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// This part of a lease is left when they have been killed.
const SPARE: u32 = 12;

/// Between two looks of a process that has no time to wait for.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// How long it is since the machine booted.
pub(crate) fn now() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), nanoseconds)
}

/// Sleeps until then, or a little less: the caller looks again.
pub(super) fn sleep_until(at: Duration) {
    let request = Timespec {
        tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: at.subsec_nanos().into(),
    };
    // A signal may end it before.
    let _ = clock_nanosleep_absolute(ClockId::Boottime, &request);
}

/// When containers whose agent does not end them must be asked to end, to be gone before the lease:
/// not before the agent itself would (`fades`), counted from when the renewal was sent.
pub(crate) fn ask_after(ttl: Duration, fades: Duration) -> Duration {
    ttl.saturating_sub(GRACE + ttl / SPARE).max(fades)
}

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

    /// Containers may run until then; never less than was said before. Given up half-way, it is
    /// written all the same.
    ///
    /// # Errors
    /// As for writing.
    pub(super) async fn set(self: &Arc<Self>, until: Duration) -> Result<()> {
        let fence = self.clone();
        let writing = tokio::task::spawn_blocking(move || fence.write(until));
        let path = self.path.display();
        writing.await.map_err(error_while(&path))?.map_err(error_while(&path))
    }

    fn write(&self, until: Duration) -> io::Result<()> {
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

/// The other side; `None`: nobody has said.
pub(super) fn read(path: &Path) -> Option<Duration> {
    let mut bytes = [0; 8];
    File::open(path).ok()?.read_exact_at(&mut bytes, 0).ok()?;
    Some(Duration::from_millis(u64::from_le_bytes(bytes)))
}

/// Says whether the containers of a pod are to end so, by a mark of its own.
///
/// # Errors
/// As for writing.
pub(super) fn mark(path: &Path, is_fenced: bool) -> Result<()> {
    let marked = match is_fenced {
        true => File::create(path).map(drop),
        false => std::fs::remove_file(path),
    };
    match marked {
        Err(error) if is_fenced || error.kind() != io::ErrorKind::NotFound => {
            Err(error_while(path.display())(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_to_end_is_gone_before_the_lease() {
        // Proves for leases of 3 s and more that the grace fits before their end, and that the agent
        // has its turn before.
        for ttl_s in 3..120 {
            let ttl = Duration::from_secs(ttl_s);
            let fades = ttl * 2 / 3;
            let asked = ask_after(ttl, fades);
            assert!(asked >= fades && asked + GRACE <= ttl, "{ttl_s} s: {asked:?}");
        }
        assert_eq!(ask_after(Duration::from_secs(9), Duration::from_secs(6)).as_millis(), 7250);
    }

    #[tokio::test]
    async fn what_was_said_last_is_not_taken_back() {
        // Proves that the time is read as it was written, that an earlier one changes nothing, and
        // that marks come and go.
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        assert_eq!(read(&path("fence")), None);
        let fence = Arc::new(Fence::new(path("fence")));
        fence.set(Duration::from_millis(5000)).await.unwrap();
        fence.set(Duration::from_millis(4000)).await.unwrap();
        assert_eq!(read(&path("fence")), Some(Duration::from_millis(5000)));
        mark(&path("mark"), true).unwrap();
        assert!(path("mark").exists());
        for _ in 0..2 {
            mark(&path("mark"), false).unwrap();
            assert!(!path("mark").exists());
        }
        assert!(mark(&path("none/mark"), true).is_err());
    }

    #[test]
    fn the_clock_goes_on_and_can_be_waited_for() {
        // Proves that a sleep until a time ends at that time or later, and one in the past at once.
        let begun = now();
        let at = begun + Duration::from_millis(30);
        while now() < at {
            sleep_until(at);
        }
        sleep_until(begun);
        assert!(now() >= at);
    }
}
