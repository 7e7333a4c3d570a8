//! A file that is there as a whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A file in the making. Dropped without [`Output::publish`], it leaves nothing behind.
pub(super) struct Output {
    pub(super) file: File,
    path: PathBuf,
    staged: PathBuf,
    is_published: bool,
}

impl Output {
    /// # Errors
    /// One line that names the file: it exists, or cannot be made.
    pub(super) fn create(path: &Path) -> Result<Self, String> {
        if path.symlink_metadata().is_ok() {
            return Err(format!("{} exists: choose another --out, or remove it", path.display()));
        }
        let mut staged = path.as_os_str().to_owned();
        staged.push(".part");
        let staged = PathBuf::from(staged);
        // What was left of an earlier attempt may be another's to read, or lead elsewhere.
        let _ = fs::remove_file(&staged);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        // There may be passwords' hashes in it.
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&staged);
        let file = file.map_err(|error| format!("{} cannot be made: {error}", staged.display()))?;
        Ok(Self { file, path: path.to_owned(), staged, is_published: false })
    }

    /// # Errors
    /// One line that names the file.
    pub(super) fn publish(mut self) -> Result<(), String> {
        let published = self.file.sync_all().and_then(|()| fs::rename(&self.staged, &self.path));
        published
            .and_then(|()| sync_directory(&self.path))
            .map_err(|error| format!("{} cannot be written: {error}", self.path.display()))?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.is_published {
            // Nobody takes it for what it is not: its name says that it is a part.
            let _ = fs::remove_file(&self.staged);
        }
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
