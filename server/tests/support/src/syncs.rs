//! The syncs of a process: which files they were of, and a disk on which they fail.
//!
//! By a library that is loaded before the process, so that it is the system's own call that is seen.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::Member;

/// The library, compiled; it goes with the directory that it was put into.
#[derive(Clone, Debug)]
pub struct Syncs(PathBuf);

impl Syncs {
    /// # Errors
    /// There is no C compiler, or it fails; in words.
    pub fn compile(directory: &Path) -> Result<Self, String> {
        let library = directory.join("syncs.so");
        let source = library.with_extension("c");
        std::fs::write(&source, include_str!("syncs.c")).map_err(|error| error.to_string())?;
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .map_err(|error| format!("cc: {error}"))?;
        match output.status.success() {
            true => Ok(Self(library)),
            false => Err(format!("cc: {}", String::from_utf8_lossy(&output.stderr).trim())),
        }
    }

    /// From its next start on, every sync of the member fails while the file `switch` exists.
    pub fn break_while(&self, member: &mut Member, switch: &Path) {
        member.env.extend(self.preload("BERTH_BROKEN_DISK", switch));
    }

    /// From its next start on, the path of each file that the member has synced is a line in `list`.
    pub fn record(&self, member: &mut Member, list: &Path) {
        member.env.extend(self.recording(list));
    }

    /// The same for any process that starts with these variables.
    pub fn recording(&self, list: &Path) -> [(String, String); 2] {
        self.preload("BERTH_SYNCS", list)
    }

    fn preload(&self, name: &str, path: &Path) -> [(String, String); 2] {
        [("LD_PRELOAD", &*self.0), (name, path)]
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
    }
}
