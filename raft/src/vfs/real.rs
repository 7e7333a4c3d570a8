//! The operating system's files.

use super::{File, Lock, Vfs};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The log holds what clients stored: only the owner reads it, as with etcd's files.
const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_DIRECTORY: u32 = 0o700;

/// One call to the kernel copies so much. Many kernels let nobody else on the processor meanwhile,
/// however urgent.
const WRITE_BYTES_MAX: usize = 256 << 10;

/// The machine's own file system, through the standard library.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

impl Vfs for RealFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(private_file().create(true).truncate(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(fs::OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn read_dir(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if dir.as_os_str().is_empty() || dir.is_dir() {
            return Ok(());
        }
        let parent = match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.create_dir_all(parent)?;
        match fs::DirBuilder::new().mode(PRIVATE_DIRECTORY).create(dir) {
            Ok(()) => self.sync_dir(parent),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn available_bytes(&self, dir: &Path) -> io::Result<Option<u64>> {
        let disk = rustix::fs::statvfs(dir)?;
        Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = private_file().create(true).truncate(false).open(path)?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Box::new(LockedFile { _file: file })),
                Err(fs::TryLockError::Error(error)) => return Err(error),
                Err(fs::TryLockError::WouldBlock) if started.elapsed() > LOCK_WAIT => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_LOOK),
            }
        }
    }
}

/// A process that was killed lets go of its files when the last of its threads is back from the
/// disk: whoever starts it again at once has to wait for that.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_LOOK: Duration = Duration::from_millis(20);

fn private_file() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).mode(PRIVATE_FILE);
    options
}

/// The lock lives as long as the open file description.
struct LockedFile {
    _file: fs::File,
}

impl Lock for LockedFile {}

impl File for fs::File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for piece in bytes.chunks(WRITE_BYTES_MAX) {
            self.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset + filled as u64;
            match FileExt::read_at(self, &mut buffer[filled..], at) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        fs::File::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        fs::File::sync_data(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_write_is_whole() {
        // Proves that what takes several calls to the kernel lies where it should, to the last byte.
        let dir = tempfile::tempdir().unwrap();
        let file = RealFs.create(&dir.path().join("file")).unwrap();
        let bytes: Vec<u8> = (0..=250).cycle().take(3 * WRITE_BYTES_MAX + 5).collect();
        file.write_at(&bytes, 3).unwrap();
        let mut read = vec![1; bytes.len() + 4];
        assert_eq!(file.read_at(&mut read, 0).unwrap(), bytes.len() + 3);
        assert_eq!((&read[..3], &read[3..bytes.len() + 3]), (&[0; 3][..], &bytes[..]));
    }
}
