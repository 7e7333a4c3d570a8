//! A file put in the place of another in one step.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Of a file that was not there and whose resource says nothing.
const MODE: u32 = 0o644;
/// What of a mode can be set.
const MODE_BITS: u32 = 0o7777;

/// Whose the file is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

/// A new file beside the old one, complete and on disk.
#[derive(Debug)]
pub(super) struct Staged {
    file: NamedTempFile,
    dest: PathBuf,
}

/// What was replaced, until it is certain that it is not needed any more.
#[derive(Debug)]
pub(super) struct Replaced {
    before: Option<NamedTempFile>,
    dest: PathBuf,
}

/// Whether a file is already what it is to be.
pub(super) fn is_current(dest: &Path, text: &str, owner: Owner) -> bool {
    let same = |before: &Metadata| {
        owner.mode.is_none_or(|mode| before.mode() & MODE_BITS == mode)
            && owner.uid.is_none_or(|uid| before.uid() == uid)
            && owner.gid.is_none_or(|gid| before.gid() == gid)
    };
    fs::metadata(dest).is_ok_and(|before| same(&before))
        && fs::read(dest).is_ok_and(|before| before == text.as_bytes())
}

impl Staged {
    /// Writes `text` beside `dest`, with the owner and mode it is to have.
    pub(super) fn new(dest: &Path, text: &str, owner: Owner) -> io::Result<Self> {
        let mut file = beside(dest)?;
        let before = fs::metadata(dest).ok();
        let known = before.as_ref().map(|before| before.mode() & MODE_BITS);
        // Ownership first: changing it takes bits off the mode.
        let uid = owner.uid.or(before.as_ref().map(Metadata::uid));
        let gid = owner.gid.or(before.as_ref().map(Metadata::gid));
        let now = file.as_file().metadata()?;
        if uid.is_some_and(|uid| uid != now.uid()) || gid.is_some_and(|gid| gid != now.gid()) {
            chown(file.path(), uid, gid)?;
        }
        let mode = owner.mode.or(known).unwrap_or(MODE);
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        Ok(Self { file, dest: dest.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Puts it in place.
    pub(super) fn commit(self) -> io::Result<Replaced> {
        let before = keep(&self.dest)?;
        self.file.persist(&self.dest).map_err(|error| error.error)?;
        sync_directory(&self.dest)?;
        Ok(Replaced { before, dest: self.dest })
    }
}

impl Replaced {
    /// Puts the old file back, and says whether there was one: without, the new one stays.
    pub(super) fn undo(self) -> io::Result<bool> {
        let Some(before) = self.before else { return Ok(false) };
        before.persist(&self.dest).map_err(|error| error.error)?;
        sync_directory(&self.dest)?;
        Ok(true)
    }
}

/// A second name for the file that is there, if there is one.
fn keep(dest: &Path) -> io::Result<Option<NamedTempFile>> {
    if !dest.exists() {
        return Ok(None);
    }
    let place = beside(dest)?;
    let before = fs::metadata(dest)?;
    fs::copy(dest, place.path())?;
    chown(place.path(), Some(before.uid()), Some(before.gid()))?;
    place.as_file().set_permissions(before.permissions())?;
    place.as_file().sync_all()?;
    Ok(Some(place))
}

fn beside(dest: &Path) -> io::Result<NamedTempFile> {
    let name = dest.file_name().unwrap_or_default().to_string_lossy();
    tempfile::Builder::new().prefix(&format!(".{name}.")).tempfile_in(directory(dest))
}

fn directory(dest: &Path) -> &Path {
    dest.parent().unwrap_or(Path::new("/"))
}

/// A new name is on disk when its directory is.
fn sync_directory(dest: &Path) -> io::Result<()> {
    File::open(directory(dest))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_and_put_back() {
        // Proves that the mode is kept or set, that undoing restores the old file if there was one,
        // and that nothing is left beside it.
        let directory = tempfile::tempdir().unwrap();
        let dest = directory.path().join("a.conf");
        let owner = Owner { mode: None, uid: None, gid: None };
        assert!(!Staged::new(&dest, "one", owner).unwrap().commit().unwrap().undo().unwrap());
        assert_eq!(fs::read(&dest).unwrap(), b"one");
        fs::set_permissions(&dest, Permissions::from_mode(0o600)).unwrap();
        let replaced = Staged::new(&dest, "two", owner).unwrap().commit().unwrap();
        assert_eq!(fs::read(&dest).unwrap(), b"two");
        assert_eq!(fs::metadata(&dest).unwrap().mode() & MODE_BITS, 0o600, "as it was");
        assert!(replaced.undo().unwrap());
        assert!(is_current(&dest, "one", Owner { mode: Some(0o600), ..owner }));
        assert!(!is_current(&dest, "one", Owner { mode: Some(0o640), ..owner }));
        drop(Staged::new(&dest, "three", owner).unwrap());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }
}
