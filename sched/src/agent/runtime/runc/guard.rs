//! A shim's container ends by itself before the node's lease does, whether an agent lives or not.
//!
//! The shim looks at what the agent says (`ROOT/fence`) and at the mark beside its pod
//! (`pods/UID/fenced`). An agent that comes back in time finds the container running.

use std::path::PathBuf;

use rustix::process::Signal;

use crate::agent::runtime::fence::{GRACE, LOOK, now, read, sleep_until};
use crate::agent::runtime::process::Process;

/// What a shim ends, and how it knows when.
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
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::agent::runtime::fence::{Fence, mark};

    #[tokio::test]
    async fn what_is_fenced_ends_when_nobody_renews_and_not_before() {
        // Proves that a process goes on while its time is renewed, ends when that stops, and that
        // one which nobody would start elsewhere goes on.
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let start = || std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let (mut fenced, mut free) = (start(), start());
        let guarded = |child: &std::process::Child, mark: &str| Guarded {
            init: Process::of(i32::try_from(child.id()).unwrap()).unwrap(),
            signal: Signal::TERM,
            fence: path("own"),
            mark: path(mark),
        };
        let own = Arc::new(Fence::new(path("own")));
        let first = now() + Duration::from_secs(1);
        own.set(first).await.unwrap();
        mark(&path("fenced"), true).unwrap();
        mark(&path("free"), true).unwrap();
        mark(&path("free"), false).unwrap();
        let one = guarded(&fenced, "fenced");
        let other = guarded(&free, "free");
        let watching = std::thread::spawn(move || one.watch());
        // It ends with the test.
        std::thread::spawn(move || other.watch());
        let last = now() + Duration::from_secs(2);
        own.set(last).await.unwrap();
        let is_in_time = now() < first;
        let status = fenced.wait().unwrap();
        // What is written counts milliseconds.
        let ended = now() + Duration::from_millis(1);
        assert!(ended >= last || !is_in_time, "it ended before its time");
        assert!(!status.success());
        watching.join().unwrap();
        assert!(free.try_wait().unwrap().is_none(), "nobody else would start it");
        free.kill().unwrap();
        free.wait().unwrap();
    }
}
