//! Files that change all at once: each is a link into `..data`, which is a link to the directory of
//! this version and is put in its place by one rename.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path};

use super::content::{Content, Files};

const DATA: &str = "..data";
const NEW: &str = "..data_new";
const VERSION: &str = "..version_";

/// Brings a volume to these files. What is so already is left alone.
///
/// # Errors
/// A path leads out of the volume; the disk is full. The files are as before then.
pub(super) fn publish(place: &Path, files: &Files) -> io::Result<()> {
    for path in files.keys() {
        let is_plain = |part| matches!(part, Component::Normal(name) if !name.to_string_lossy().starts_with(".."));
        if path.is_empty() || !Path::new(path).components().all(is_plain) {
            return Err(io::Error::other(format!("{path:?} is no path for a file of a volume")));
        }
    }
    if is_so(&place.join(DATA), files) {
        return Ok(());
    }
    let before = std::fs::read_link(place.join(DATA)).ok().filter(|before| is_version(before));
    let version = tempfile::Builder::new().prefix(VERSION).tempdir_in(place)?;
    std::fs::set_permissions(version.path(), PermissionsExt::from_mode(0o755))?;
    for (path, content) in files {
        write(&version.path().join(path), content)?;
    }
    let name = version.path().file_name().map(std::ffi::OsStr::to_owned).unwrap_or_default();
    let new = place.join(NEW);
    // Of a try that was cut short.
    let _ = std::fs::remove_file(&new);
    symlink(&name, &new)?;
    std::fs::rename(&new, place.join(DATA))?;
    let _ = version.keep();
    link(place, files)?;
    if let Some(before) = before.filter(|before| before.as_os_str() != name) {
        std::fs::remove_dir_all(place.join(before))?;
    }
    Ok(())
}

/// Whether it is the name of a directory that was made here, and no way out of the volume.
fn is_version(path: &Path) -> bool {
    let mut parts = path.components();
    let is_own = |part| matches!(part, Component::Normal(name) if name.to_string_lossy().starts_with(VERSION));
    parts.next().is_some_and(is_own) && parts.next().is_none()
}

fn write(path: &Path, content: &Content) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, &content.bytes)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(content.mode))
}

/// Whether exactly these files are there.
fn is_so(data: &Path, files: &Files) -> bool {
    let is_same = |(path, content): (&String, &Content)| {
        let path = data.join(path);
        let mode = std::fs::metadata(&path).map(|data| data.permissions().mode() & 0o777);
        mode.is_ok_and(|mode| mode == content.mode)
            && std::fs::read(&path).is_ok_and(|bytes| bytes == content.bytes)
    };
    data.exists() && files.iter().all(is_same) && count(data) == files.len()
}

fn count(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

/// What the container sees: a link for each first part of a path.
fn link(place: &Path, files: &Files) -> io::Result<()> {
    let first = |path: &String| path.split('/').next().unwrap_or_default().to_owned();
    let wanted: BTreeSet<String> = files.keys().map(first).collect();
    for entry in std::fs::read_dir(place)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !wanted.contains(&name) {
            std::fs::remove_file(entry.path())?;
        }
    }
    for name in wanted {
        match symlink(Path::new(DATA).join(&name), place.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_change_all_at_once_and_go_when_they_are_gone() {
        // Proves content and mode, a change through one link, removal, and that nothing is left
        // of older versions; a bad path changes nothing.
        let place = tempfile::tempdir().unwrap();
        let content = |text: &str| Content { bytes: text.into(), mode: 0o640 };
        let read = |path: &str| std::fs::read_to_string(place.path().join(path)).unwrap();
        let first = Files::from([("a".into(), content("1")), ("d/b".into(), content("1"))]);
        publish(place.path(), &first).unwrap();
        assert_eq!((read("a"), read("d/b")), ("1".into(), "1".into()));
        let version = std::fs::read_link(place.path().join(DATA)).unwrap();
        publish(place.path(), &first).unwrap();
        assert_eq!(std::fs::read_link(place.path().join(DATA)).unwrap(), version);
        publish(place.path(), &Files::from([("a".into(), content("2"))])).unwrap();
        assert_eq!(read("a"), "2");
        assert!(!place.path().join("d").exists() && !place.path().join(version).exists());
        let mode = std::fs::metadata(place.path().join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        for path in ["../x", "/x", "..data/x", ""] {
            let bad = Files::from([(path.into(), content("3"))]);
            assert!(publish(place.path(), &bad).is_err(), "{path}");
        }
        assert_eq!(read("a"), "2");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 3);
    }
}
