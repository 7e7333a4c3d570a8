//! Where a restore is written, and how it becomes the member's directories in one step.
//!
//! All is built in a staging directory, synced, and then renamed. A directory that is missing is
//! built beside its place, as `NAME.restoring`. One that exists and is empty may be the root of a
//! file system, which cannot be renamed: there all is built beneath it, as `.restoring`, and then
//! moved up. Whatever a crash leaves behind has a staging directory next to it, and a server does
//! not start from that ([`refuse_unfinished`]); the next restore clears it away.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::vfs::{Lock, RealFs, Vfs};

const STAGING: &str = ".restoring";
/// Held by the restore that builds there.
const LOCK: &str = "restore.lock";

/// The two directories of a member. Dropped without [`Place::publish`], it leaves nothing behind.
pub(super) struct Place {
    data: Staging,
    /// `None`: it lies within the data directory.
    wal: Option<Staging>,
    /// Relative to the data directory.
    wal_within: PathBuf,
    is_published: bool,
}

/// One directory in the making.
struct Staging {
    target: PathBuf,
    /// Where it is built.
    path: PathBuf,
    /// Beneath `target`, which exists.
    is_within: bool,
    _lock: Box<dyn Lock>,
}

impl Place {
    /// Checks the directories and makes the staging ones.
    pub(super) fn prepare(data_dir: &Path, wal_dir: &Path) -> Result<Place, Error> {
        let wal_within = wal_dir.strip_prefix(data_dir).map(Path::to_owned).ok();
        if wal_within.as_deref() == Some(Path::new("")) || data_dir.starts_with(wal_dir) {
            return Err(Error::Refused(format!(
                "--wal-dir {} must be another directory than --data-dir, and not hold it",
                wal_dir.display()
            )));
        }
        check_vacant(data_dir, "--data-dir")?;
        if wal_within.is_none() {
            check_vacant(wal_dir, "--wal-dir")?;
        }
        let data = Staging::new(data_dir)?;
        let mut place = Place { data, wal: None, wal_within: PathBuf::new(), is_published: false };
        match wal_within {
            Some(within) => place.wal_within = within,
            None => place.wal = Some(Staging::new(wal_dir)?),
        }
        Ok(place)
    }

    /// Where the data directory is built.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.data.path.clone()
    }

    /// Where the log's directory is built.
    pub(super) fn wal_dir(&self) -> PathBuf {
        self.wal
            .as_ref()
            .map_or_else(|| self.data.path.join(&self.wal_within), |wal| wal.path.clone())
    }

    /// Gives the directories their names; what was built in them is durable already.
    pub(super) fn publish(mut self) -> Result<(), Error> {
        // The data directory last: as long as it is not there, nothing is.
        for staging in self.wal.iter().chain([&self.data]) {
            staging.publish().map_err(|error| {
                Error::Refused(format!("cannot write {}: {error}", staging.target.display()))
            })?;
        }
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_published {
            return;
        }
        for staging in self.wal.iter().chain([&self.data]) {
            if let Err(error) = fs::remove_dir_all(&staging.path) {
                tracing::warn!(dir = %staging.path.display(), %error, "cannot be removed");
            }
        }
    }
}

/// Refuses to start from what an interrupted restore left behind.
pub(crate) fn refuse_unfinished(
    vfs: &dyn Vfs,
    data_dir: &Path,
    wal_dir: &Path,
) -> Result<(), Error> {
    let beside = [data_dir, wal_dir].into_iter().filter_map(beside);
    let within = [data_dir, wal_dir].map(|dir| dir.join(STAGING));
    // There is a lock at least, in one that counts.
    let exists = |dir: &PathBuf| vfs.read_dir(dir).is_ok_and(|names| !names.is_empty());
    match beside.chain(within).find(exists) {
        None => Ok(()),
        Some(left) => Err(Error::Refused(format!(
            "a restore into {} did not come to its end: restore again, or remove {}",
            data_dir.display(),
            left.display()
        ))),
    }
}

fn check_vacant(dir: &Path, flag: &str) -> Result<(), Error> {
    let refused = |what: &str| Err(Error::Refused(format!("{flag} {} {what}", dir.display())));
    match RealFs.read_dir(dir) {
        Ok(names) if names.iter().all(|name| name == STAGING) => Ok(()),
        Ok(_) => refused("is not empty: give a directory that is, or does not exist yet"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => refused(&format!("cannot be used: {error}")),
    }
}

/// The staging directory of a directory that does not exist.
fn beside(target: &Path) -> Option<PathBuf> {
    let mut name = target.file_name()?.to_owned();
    name.push(STAGING);
    Some(target.with_file_name(name))
}

impl Staging {
    fn new(target: &Path) -> Result<Staging, Error> {
        let refused = |what: &str| {
            Error::Refused(format!("cannot restore into {}: {what}", target.display()))
        };
        let is_within = target.is_dir();
        let within = target.join(STAGING);
        let (path, other) = match beside(target) {
            beside if is_within => (within, beside),
            Some(beside) => (beside, None),
            None => return Err(refused("it is not the name of a directory")),
        };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => refused("another restore into it is running"),
            _ => refused(&error.to_string()),
        };
        // The directory may have come into being after an earlier restore.
        if let Some(other) = other.filter(|other| other.is_dir()) {
            let _lock = RealFs.lock(&other.join(LOCK)).map_err(failed)?;
            fs::remove_dir_all(&other).map_err(failed)?;
        }
        RealFs.create_dir_all(&path).map_err(failed)?;
        let lock = RealFs.lock(&path.join(LOCK)).map_err(failed)?;
        let staging = Staging { target: target.to_owned(), path, is_within, _lock: lock };
        staging.clear().map_err(failed)?;
        Ok(staging)
    }

    /// Removes what an earlier restore left.
    fn clear(&self) -> io::Result<()> {
        for name in self.children()? {
            let path = self.path.join(name);
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
        Ok(())
    }

    /// The names in it, but for the lock's.
    fn children(&self) -> io::Result<Vec<String>> {
        let mut names = RealFs.read_dir(&self.path)?;
        names.retain(|name| name != LOCK);
        Ok(names)
    }

    fn publish(&self) -> io::Result<()> {
        if self.is_within {
            for name in self.children()? {
                fs::rename(self.path.join(&name), self.target.join(&name))?;
            }
            sync(&self.target)?;
            // From here on it is complete.
            fs::remove_dir_all(&self.path)?;
            return sync(&self.target);
        }
        sync(&self.path)?;
        fs::rename(&self.path, &self.target)?;
        // Not before: another restore would take the staging directory for an abandoned one.
        fs::remove_file(self.target.join(LOCK))?;
        match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
            _ => sync(Path::new(".")),
        }
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
