//! A file put in the place of another in one step, where the system lets it.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

/// Of a file that was not there and whose resource says nothing.
const MODE: u32 = 0o644;
/// Links that are followed from one to the next, as the system does.
const LINKS_MAX: usize = 40;
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
    /// Writes `text` beside `dest`, or beside what that leads to, with the owner and mode it is to
    /// have.
    pub(super) fn new(dest: &Path, text: &str, owner: Owner) -> io::Result<Self> {
        let dest = &behind_links(dest)?;
        let mut file = beside(dest)?;
        let before = fs::metadata(dest).ok();
        let known = before.as_ref().map(|before| before.mode() & MODE_BITS);
        // Nobody else can read it yet. Text and owner before the mode: either takes bits off it.
        file.write_all(text.as_bytes())?;
        let uid = owner.uid.or(before.as_ref().map(Metadata::uid));
        let gid = owner.gid.or(before.as_ref().map(Metadata::gid));
        let now = file.as_file().metadata()?;
        if uid.is_some_and(|uid| uid != now.uid()) || gid.is_some_and(|gid| gid != now.gid()) {
            chown(file.path(), uid, gid)?;
        }
        let mode = owner.mode.or(known).unwrap_or(MODE);
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        Ok(Self { file, dest: dest.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Puts it in place.
    pub(super) fn commit(self) -> io::Result<Replaced> {
        let before = keep(&self.dest)?;
        if let Err(error) = put(self.file, &self.dest) {
            // Of one that is written in place a part may be new.
            if let Some(before) = before {
                put(before, &self.dest)?;
            }
            return Err(error);
        }
        Ok(Replaced { before, dest: self.dest })
    }
}

impl Replaced {
    /// Puts the old file back, and says whether there was one: without, the new one stays.
    pub(super) fn undo(self) -> io::Result<bool> {
        let Some(before) = self.before else { return Ok(false) };
        put(before, &self.dest)?;
        Ok(true)
    }
}

/// Puts a file in the place of `dest`. One that is mounted there, as containers get theirs, cannot
/// be replaced, and is written in place.
fn put(file: NamedTempFile, dest: &Path) -> io::Result<()> {
    match file.persist(dest) {
        Ok(_) => sync_directory(dest),
        Err(refused) if refused.error.kind() == ErrorKind::ResourceBusy => {
            write_in_place(refused.file.path(), dest)
        }
        Err(refused) => Err(refused.error),
    }
}

/// For writing; a link that somebody put there meanwhile is not followed.
fn open_itself(dest: &Path) -> io::Result<File> {
    let itself = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().write(true).custom_flags(itself).open(dest)
}

fn write_in_place(from: &Path, dest: &Path) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, open_itself(dest)?);
    let (wanted, now) = (from.metadata()?, to.metadata()?);
    if (wanted.uid(), wanted.gid()) != (now.uid(), now.gid()) {
        chown(dest, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    to.set_permissions(wanted.permissions())?;
    let length = io::copy(&mut from, &mut to)?;
    // Cut off last: whoever reads meanwhile finds no file that is empty.
    to.set_len(length)?;
    to.sync_all()
}

/// The file that a path leads to, over links; it may be missing. Links of others than root and this
/// user are not followed, and so replaced: who may write to the directory of a file must not choose
/// which file it is.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let own = rustix::process::geteuid().as_raw();
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let trusted = |link: &Metadata| link.is_symlink() && [0, own].contains(&link.uid());
        match fs::symlink_metadata(&path).is_ok_and(|link| trusted(&link)) {
            true => path = directory(&path).join(fs::read_link(&path)?),
            false => return Ok(path),
        }
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "it is a link that leads nowhere"))
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
    use std::os::unix::fs::lchown;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const STRANGER: u32 = 65534;

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

    #[test]
    fn a_reader_has_the_old_file_or_the_new_one() {
        // Proves that another file takes the place of the old one, which whoever has it open goes on
        // reading; and that at no moment there is none, or a part of one.
        const BYTES: usize = 256 << 10;
        let directory = tempfile::tempdir().unwrap();
        let dest = directory.path().join("a.conf");
        let owner = Owner { mode: None, uid: None, gid: None };
        let replace = |letter: &str| {
            Staged::new(&dest, &letter.repeat(BYTES), owner).unwrap().commit().unwrap()
        };
        replace("a");
        let held = File::open(&dest).unwrap();
        replace("b");
        assert_ne!(held.metadata().unwrap().ino(), fs::metadata(&dest).unwrap().ino());
        assert_eq!(io::read_to_string(held).unwrap(), "a".repeat(BYTES));

        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut read = 0;
                while !stop.load(Ordering::Relaxed) || read == 0 {
                    let text = fs::read(&dest).unwrap();
                    assert_eq!(text.len(), BYTES);
                    assert!(text.iter().all(|byte| *byte == text[0]), "two files in one");
                    read += 1;
                }
                read
            });
            for letter in ["c", "d", "e", "f"].repeat(5) {
                assert!(replace(letter).undo().unwrap());
                replace(letter);
            }
            stop.store(true, Ordering::Relaxed);
            println!("read {} times", reader.join().unwrap());
        });
    }

    #[test]
    fn files_are_given_to_their_owner() {
        // Proves that owner, group and mode are set, all bits of it; that another owner makes the file
        // another; that they are kept where nothing is said, and come back with the old file.
        let directory = tempfile::tempdir().unwrap();
        let dest = directory.path().join("a.conf");
        let whose = |owner: Owner, of: &Path| {
            Staged::new(of, "text", owner).unwrap().commit().unwrap();
            let file = fs::metadata(of).unwrap();
            (file.uid(), file.gid(), file.mode() & MODE_BITS)
        };
        let anyone = Owner { mode: None, uid: None, gid: None };
        let (uid, gid, mode) = whose(anyone, &dest);
        assert_eq!(mode, MODE);
        let own = Owner { mode: Some(0o4750), uid: Some(uid), gid: Some(gid) };
        assert_eq!(whose(own, &dest), (uid, gid, 0o4750));
        // Only root may give files away.
        if lchown(&dest, Some(STRANGER), Some(STRANGER)).is_err() {
            return;
        }
        fs::remove_file(&dest).unwrap();
        let strange = Owner { mode: Some(0o4750), uid: Some(STRANGER), gid: Some(STRANGER) };
        assert_eq!(whose(strange, &dest), (STRANGER, STRANGER, 0o4750));
        assert_eq!(whose(anyone, &dest), (STRANGER, STRANGER, 0o4750), "as it was");
        assert!(is_current(&dest, "text", strange) && is_current(&dest, "text", anyone));
        for other in [Owner { uid: Some(uid), ..anyone }, Owner { gid: Some(gid), ..anyone }] {
            assert!(!is_current(&dest, "text", other), "{other:?}");
        }
        let replaced = Staged::new(&dest, "new", own).unwrap().commit().unwrap();
        assert!(is_current(&dest, "new", own));
        assert!(replaced.undo().unwrap() && is_current(&dest, "text", strange));
        // In place, too.
        let from = directory.path().join("new");
        assert_eq!(whose(own, &from), (uid, gid, 0o4750));
        write_in_place(&from, &dest).unwrap();
        assert!(is_current(&dest, "text", own));
    }

    #[test]
    fn links_stay_and_what_cannot_be_replaced_is_written() {
        // Proves that a link goes on leading to the file, which is written, also where that was
        // missing; that a circle is told; and that a file written in place is as the new one, mode
        // and length too.
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let owner = Owner { mode: None, uid: None, gid: None };
        fs::create_dir(path("far")).unwrap();
        for (link, to) in [("one", "far/two"), ("far/two", "three"), ("a", "b"), ("b", "a")] {
            std::os::unix::fs::symlink(to, path(link)).unwrap();
        }
        for text in ["first", "second"] {
            Staged::new(&path("one"), text, owner).unwrap().commit().unwrap();
            assert_eq!(fs::read_to_string(path("far/three")).unwrap(), text);
            assert_eq!(fs::read_link(path("one")).unwrap(), Path::new("far/two"));
        }
        // Only root may give a link to another.
        if lchown(path("one"), Some(STRANGER), None).is_ok() {
            Staged::new(&path("one"), "third", owner).unwrap().commit().unwrap();
            assert!(!fs::symlink_metadata(path("one")).unwrap().is_symlink(), "it is replaced");
            assert_eq!(fs::read_to_string(path("far/three")).unwrap(), "second");
        }
        let error = Staged::new(&path("a"), "", owner).unwrap_err();
        assert!(error.to_string().contains("leads nowhere"), "{error}");

        fs::write(path("short"), "new").unwrap();
        fs::set_permissions(path("short"), Permissions::from_mode(0o600)).unwrap();
        write_in_place(&path("short"), &path("far/three")).unwrap();
        assert!(is_current(&path("far/three"), "new", Owner { mode: Some(0o600), ..owner }));
    }
}
