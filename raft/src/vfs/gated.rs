//! A file system each of whose operations passes a gate first, for tests and simulators.

use super::{File, Lock, Vfs};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is about to be done, as far as it matters whether it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Of a file.
    Create,
    /// A file's bytes or its length.
    Change,
    /// To another name, or to none.
    Unlink,
    /// Of a file, or of the names in a directory.
    Sync,
}

/// Stands before a file system.
pub trait Gate: Send + Sync + 'static {
    /// Comes before each operation; what it refuses fails with its error, and is not done.
    fn pass(&self, operation: Operation, path: &Path) -> io::Result<()>;

    /// What [`Vfs::available_bytes`] answers.
    fn available_bytes(&self) -> Option<u64> {
        None
    }
}

/// Another's files behind a gate; clones share both.
#[derive(Clone)]
pub struct Gated {
    files: Arc<dyn Vfs>,
    gate: Arc<dyn Gate>,
}

impl Gated {
    pub fn new(files: Arc<dyn Vfs>, gate: Arc<dyn Gate>) -> Gated {
        Gated { files, gate }
    }

    fn handle(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(Handle { gate: self.gate.clone(), path: path.to_owned(), file })
    }
}

impl Vfs for Gated {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.gate.pass(Operation::Create, path)?;
        Ok(self.handle(path, self.files.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.handle(path, self.files.open(path)?))
    }

    fn read_dir(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.files.read_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.gate.pass(Operation::Unlink, from)?;
        self.files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.gate.pass(Operation::Unlink, path)?;
        self.files.remove(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.files.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.gate.pass(Operation::Sync, dir)?;
        self.files.sync_dir(dir)
    }

    fn available_bytes(&self, _: &Path) -> io::Result<Option<u64>> {
        Ok(self.gate.available_bytes())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.files.lock(path)
    }
}

struct Handle {
    gate: Arc<dyn Gate>,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl File for Handle {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.gate.pass(Operation::Change, &self.path)?;
        self.file.write_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.gate.pass(Operation::Change, &self.path)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass(Operation::Sync, &self.path)?;
        self.file.sync_data()
    }
}
