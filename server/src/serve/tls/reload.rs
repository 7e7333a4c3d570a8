//! Something made out of files, made anew when one of them changes.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::Files;

/// What was made last, and what it was made of. It is looked at when it is needed: no task, no
/// timer, and no change goes unnoticed by the connection after it.
pub(super) struct Reloaded<T> {
    /// For the log: what it is for.
    whom: &'static str,
    files: Files,
    load: Box<dyn Fn() -> Result<T, String> + Send + Sync>,
    current: Mutex<Current<T>>,
}

struct Current<T> {
    stamps: Vec<Option<Stamp>>,
    value: T,
}

/// Tells two states of a file apart, also when both were written within one tick of the clock.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    inode: u64,
}

impl<T: Clone> Reloaded<T> {
    /// # Errors
    /// That of `load`.
    pub(super) fn open(
        whom: &'static str,
        files: Files,
        load: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        // Looked at before they are read: a change in between is seen next time.
        let stamps = stamps(&files);
        let current = Mutex::new(Current { stamps, value: load()? });
        Ok(Self { whom, files, load: Box::new(load), current })
    }

    /// Made of the files as they are, or as they were when they were last good.
    pub(super) fn now(&self) -> T {
        let found = stamps(&self.files);
        let mut current = self.current.lock();
        if current.stamps != found {
            // Tried once for each change, good or bad: a bad file must not fill the log.
            current.stamps = found;
            match (self.load)() {
                Ok(value) => {
                    tracing::info!(tls_for = self.whom, "TLS files changed and were read again");
                    current.value = value;
                }
                Err(error) => tracing::error!(
                    tls_for = self.whom,
                    error,
                    "TLS files changed and cannot be used; those read before stay in force"
                ),
            }
        }
        current.value.clone()
    }
}

fn stamps(files: &Files) -> Vec<Option<Stamp>> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(file).ok()?;
    Some(Stamp { modified: found.modified().ok(), len: found.len(), inode: found.ino() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_bad_file_leaves_the_last_good_one_in_force() {
        // Shows that a change is seen, that a bad one or a missing file changes nothing, and that
        // the next good one is taken.
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "1").unwrap();
        let path = file.clone();
        let load = move || {
            let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            text.parse::<u32>().map_err(|error| error.to_string())
        };
        let reloaded = Reloaded::open("test", vec![file.clone()], load.clone()).unwrap();
        assert_eq!(reloaded.now(), 1);
        fs::write(&file, "22").unwrap();
        assert_eq!(reloaded.now(), 22);
        fs::write(&file, "bad").unwrap();
        assert_eq!(reloaded.now(), 22);
        fs::remove_file(&file).unwrap();
        assert_eq!(reloaded.now(), 22);
        assert!(Reloaded::open("test", vec![file.clone()], load).is_err());
        fs::write(&file, "333").unwrap();
        assert_eq!(reloaded.now(), 333);
    }
}
