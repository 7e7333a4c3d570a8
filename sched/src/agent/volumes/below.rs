//! A path within a volume, held open: whatever a container renames or links meanwhile, what is
//! mounted is what was looked at.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fchmod, fstat, mkdirat, openat};
use rustix::io::Errno;

/// Without reading it: a pipe would wait for a writer.
const HOLD: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A file or directory. It must be kept until it is mounted.
#[derive(Debug)]
pub(in crate::agent) struct Held(OwnedFd);

impl Held {
    /// By which every process of root finds it, in whatever mount namespace with the node's `/proc`.
    pub(super) fn path(&self) -> PathBuf {
        let pid = rustix::process::getpid().as_raw_nonzero();
        PathBuf::from(format!("/proc/{pid}/fd/{}", self.0.as_raw_fd()))
    }
}

/// Opens a path below a volume that containers write to, part by part and through no link. What is
/// missing is made a directory, as open to others as the volume is.
///
/// # Errors
/// It leads out of the volume, or through a link or a file.
pub(super) fn open(place: &Path, below: &str) -> Result<Held, String> {
    walk(place, Path::new(below), true).map_err(|error| format!("subPath {below:?}: {error}"))
}

/// The same for a volume that the agent alone writes: its links are our own, and nothing is made.
///
/// # Errors
/// It leads out of the volume, or there is nothing.
pub(super) fn open_published(place: &Path, below: &str) -> Result<Held, String> {
    let inside = |error: &dyn std::fmt::Display| format!("subPath {below:?}: {error}");
    // Joined to the volume an absolute path would be itself.
    parts(Path::new(below)).map_err(|error| inside(&error))?;
    let real = place.join(below).canonicalize().map_err(|error| inside(&error))?;
    let place = place.canonicalize().map_err(|error| inside(&error))?;
    let real = real.strip_prefix(&place).map_err(|_| inside(&"it leads out of the volume"))?;
    walk(&place, real, false).map_err(|error| inside(&error))
}

fn parts(below: &Path) -> Result<Vec<&std::ffi::OsStr>, String> {
    let own = below.components().filter(|part| *part != Component::CurDir);
    own.map(|part| match part {
        Component::Normal(name) => Ok(name),
        _ => Err("it leads out of the volume".to_owned()),
    })
    .collect()
}

fn walk(place: &Path, below: &Path, make: bool) -> Result<Held, String> {
    let told = |error: Errno| std::io::Error::from(error).to_string();
    let root = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut reached = openat(CWD, place, root, Mode::empty()).map_err(told)?;
    let mode = Mode::from_raw_mode(fstat(&reached).map_err(told)?.st_mode);
    for part in parts(below)? {
        reached = match openat(&reached, part, HOLD, Mode::empty()) {
            Err(Errno::NOENT) if make => made(&reached, part, mode).map_err(told)?,
            opened => opened.map_err(told)?,
        };
        let kind = FileType::from_raw_mode(fstat(&reached).map_err(told)?.st_mode);
        if kind == FileType::Symlink {
            // Whose it is nobody knows: a container may have put it there.
            return Err(format!("{} is a link", part.display()));
        }
    }
    Ok(Held(reached))
}

fn made(parent: &OwnedFd, name: &std::ffi::OsStr, mode: Mode) -> rustix::io::Result<OwnedFd> {
    match mkdirat(parent, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    // By descriptor: the name may be a link by now.
    let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, open, Mode::empty())?;
    fchmod(&directory, mode)?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_is_held_stays_what_it_was() {
        // Proves that a directory put out of the way after it was looked at, with a link in its
        // place, is still the one that is reached; that missing ones are made as open as the volume;
        // and that links, files and dots on the way are refused, with nothing made behind them.
        let all = tempfile::tempdir().unwrap();
        let (volume, outside) = (all.path().join("volume"), all.path().join("outside"));
        fs::create_dir(&volume).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::set_permissions(&volume, PermissionsExt::from_mode(0o777)).unwrap();
        let held = open(&volume, "./a/b").unwrap();
        for made in ["a", "a/b"] {
            let mode = fs::metadata(volume.join(made)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o777, "{made}");
        }
        fs::write(volume.join("a/b/file"), "inside").unwrap();
        fs::rename(volume.join("a"), volume.join("away")).unwrap();
        symlink(&outside, volume.join("a")).unwrap();
        let read = |held: &Held| fs::read_to_string(held.path().join("file")).unwrap();
        assert_eq!(read(&held), "inside");
        fs::write(volume.join("file"), "").unwrap();
        for wrong in ["a", "a/new", "..", "away/../..", "/etc", "file/new"] {
            assert!(open(&volume, wrong).is_err(), "{wrong}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        open(&volume, "file").unwrap();
    }

    #[test]
    fn files_of_the_agent_are_reached_through_its_links() {
        // Proves that a key of a ConfigMap is found behind the links to its version, and that one
        // which is not there is no directory then.
        let volume = tempfile::tempdir().unwrap();
        let files = super::super::content::Files::from([(
            "key".into(),
            super::super::content::Content { bytes: "text".into(), mode: 0o644 },
        )]);
        super::super::publish::publish(volume.path(), &files).unwrap();
        let held = open_published(volume.path(), "key").unwrap();
        assert_eq!(fs::read_to_string(held.path()).unwrap(), "text");
        for wrong in ["none", "../x", "/etc/passwd", "key/x"] {
            assert!(open_published(volume.path(), wrong).is_err(), "{wrong}");
        }
        assert!(!volume.path().join("none").exists());
    }
}
