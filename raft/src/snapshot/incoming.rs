use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{SYNC_BYTES, SnapshotFile};
use crate::vfs::{File, Vfs};

/// A snapshot on its way in, in a file of its own.
pub(crate) struct Incoming {
    file: Arc<dyn File>,
    unadopted: Arc<Unadopted>,
    len: u64,
    synced: u64,
}

impl Incoming {
    /// An empty one, at a path that nothing else ever has.
    pub(super) fn create(vfs: Arc<dyn Vfs>, path: PathBuf) -> io::Result<Incoming> {
        let file = vfs.create(&path)?;
        Ok(Incoming { file, unadopted: Arc::new(Unadopted { vfs, path }), len: 0, synced: 0 })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends. Syncs now and then, so that the end of a large snapshot does not hold up the log.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(bytes, self.len)?;
        self.len += bytes.len() as u64;
        if self.len - self.synced >= SYNC_BYTES {
            self.file.sync_data()?;
            self.synced = self.len;
        }
        Ok(())
    }

    /// Makes it durable and checks every byte of it; it still has to be adopted. If it is not, it
    /// is gone with its last handle.
    ///
    /// # Errors
    /// `InvalidData`: it is damaged.
    pub(crate) fn finish(self) -> io::Result<SnapshotFile> {
        self.file.sync_data()?;
        let file = SnapshotFile::received(self.file, self.unadopted)?;
        file.verify()?;
        Ok(file)
    }
}

/// The name of a file that nobody may want. Adopting gives it another.
pub(super) struct Unadopted {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
}

impl Unadopted {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Unadopted {
    fn drop(&mut self) {
        // It was adopted, or the next start removes it.
        let _ = self.vfs.remove(&self.path);
    }
}
