//! The directory of snapshots.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use store::planted::{self, Mistake};

use parking_lot::Mutex;

use super::file::{Appender, SnapshotFile, SnapshotHeader};
use super::incoming::Incoming;
use super::throttle::Throttle;
use crate::vfs::Vfs;

/// Finished snapshots that are kept: the newest, and the one the log goes back to.
const KEPT: usize = 2;

const FINISHED: &str = ".snap";
const UNFINISHED: &str = ".tmp";
const DAMAGED: &str = ".damaged";

/// What a new snapshot has to leave free on its disk: the log goes on beside it.
const ROOM_LEFT_BYTES: u64 = 16 << 20;

/// One write to the file.
const WRITE_BYTES: usize = 256 << 10;

/// The snapshots of one node. Clones share them.
#[derive(Clone)]
pub(crate) struct SnapshotDir {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    bytes_per_s_max: Option<u64>,
    /// Finished ones, newest first.
    files: Arc<Mutex<Vec<SnapshotFile>>>,
    /// How many have come in from others, whole or not.
    received: Arc<AtomicU64>,
    /// How many of our own could not be written.
    failures: Arc<AtomicU64>,
    /// One is damaged, and none has been written since that was seen.
    wanted: Arc<AtomicBool>,
}

impl SnapshotDir {
    /// Opens `dir`, creating it if missing: unfinished files are removed, files that cannot be
    /// read are put aside.
    ///
    /// # Errors
    /// The disk failed, or a snapshot was written by a newer berth.
    pub(crate) fn open(
        vfs: Arc<dyn Vfs>,
        dir: PathBuf,
        bytes_per_s_max: Option<u64>,
    ) -> io::Result<SnapshotDir> {
        vfs.create_dir_all(&dir)?;
        let found = SnapshotDir {
            vfs,
            dir,
            bytes_per_s_max,
            files: Arc::default(),
            received: Arc::default(),
            failures: Arc::default(),
            wanted: Arc::default(),
        };
        let mut names = found.vfs.read_dir(&found.dir)?;
        // Names sort by index.
        names.sort_unstable_by(|a, b| b.cmp(a));
        for name in names {
            let path = found.dir.join(&name);
            if name.ends_with(UNFINISHED) {
                found.vfs.remove(&path)?;
            } else if name.ends_with(FINISHED) {
                found.take_in(&path)?;
            }
        }
        // What was found is relied on from now on, and may be known to the page cache alone.
        found.vfs.sync_dir(&found.dir)?;
        Ok(found)
    }

    /// The newest.
    pub(crate) fn newest(&self) -> Option<SnapshotFile> {
        self.files.lock().first().cloned()
    }

    /// Whether there is room for one of about `bytes`, with something left for others.
    ///
    /// # Errors
    /// There is not, or the disk does not say.
    pub(crate) fn check_room(&self, bytes: u64) -> io::Result<()> {
        match self.vfs.available_bytes(&self.dir)? {
            Some(available) if available < bytes.saturating_add(ROOM_LEFT_BYTES) => {
                let message = format!(
                    "a snapshot takes about {} MiB, and {} MiB are free",
                    bytes >> 20,
                    available >> 20
                );
                Err(io::Error::new(io::ErrorKind::StorageFull, message))
            }
            _ => Ok(()),
        }
    }

    /// Takes note of one that could not be written.
    pub(crate) fn note_failure(&self) {
        self.failures.fetch_add(1, Ordering::AcqRel);
    }

    /// How many could not be written since the opening.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// Reads again what another member found damaged when it was sent there. One that is damaged
    /// here is put aside, so that the one before it is sent; one that has none before it stays, as
    /// there would be nothing to send. Either way another is wanted. True if so; blocks for as long
    /// as reading takes.
    pub(crate) fn doubt(&self, sent: &SnapshotFile) -> io::Result<bool> {
        let Err(error) = sent.verify() else { return Ok(false) };
        tracing::error!(snapshot = ?sent, %error, "a snapshot is damaged; another will be taken");
        self.wanted.store(true, Ordering::Release);
        let others = self.files.lock().iter().any(|file| file.path() != sent.path());
        if others {
            self.put_aside(sent)?;
        }
        Ok(true)
    }

    /// Whether one is wanted whatever the log's length, for one that is damaged.
    pub(crate) fn is_one_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// All, newest first.
    pub(crate) fn all(&self) -> Vec<SnapshotFile> {
        self.files.lock().clone()
    }

    /// How far the log may be purged: to the end of the oldest one that is kept.
    pub(crate) fn purge_to(&self) -> Option<u64> {
        let files = self.files.lock();
        if files.len() < KEPT { None } else { files.last().and_then(SnapshotFile::index) }
    }

    /// Writes the snapshot of `header`, whose state `write` streams, and makes it durable. Older
    /// ones are then removed, but for the one before it. Blocks for as long as it takes.
    pub(crate) fn write(
        &self,
        header: &SnapshotHeader,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<SnapshotFile> {
        let unfinished = self.path_of(header, UNFINISHED);
        let finished = self.path_of(header, FINISHED);
        if let Err(error) = self.write_unfinished(&unfinished, header, write) {
            // It may hold the space for which this failed.
            let _ = self.vfs.remove(&unfinished);
            return Err(error);
        }
        // One that was received meanwhile has replaced the state that this was written from.
        if self.newest().is_some_and(|newest| newest.index() > header.index()) {
            self.vfs.remove(&unfinished)?;
            return Err(io::Error::other("a newer snapshot was installed meanwhile"));
        }
        self.vfs.rename(&unfinished, &finished)?;
        self.vfs.sync_dir(&self.dir)?;
        let file = SnapshotFile::open(&finished, self.vfs.open(&finished)?)?;
        self.keep(file.clone())?;
        self.wanted.store(false, Ordering::Release);
        Ok(file)
    }

    fn write_unfinished(
        &self,
        path: &Path,
        header: &SnapshotHeader,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let file = self.vfs.create(path)?;
        let out = BufWriter::with_capacity(WRITE_BYTES, Appender::new(&*file));
        let mut out = Throttle::new(out, self.bytes_per_s_max);
        out.write_all(&header.encode())?;
        write(&mut out)?;
        out.flush()?;
        if planted::is(Mistake::PurgeEarly) {
            return Ok(());
        }
        file.sync_data()
    }

    /// An empty file for a snapshot that another node sends. Each has its own: what was received
    /// before may still be waiting to be adopted.
    pub(crate) fn receive(&self) -> io::Result<Incoming> {
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("incoming-{number}{UNFINISHED}"));
        Incoming::create(self.vfs.clone(), path)
    }

    /// Takes a snapshot received from another node as our own; the log before it is gone.
    pub(crate) fn adopt(&self, received: &SnapshotFile) -> io::Result<SnapshotFile> {
        let known = self.files.lock().iter().find(|file| file.path() == received.path()).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        if !received.is_incoming() {
            let copy = |out: &mut dyn Write| io::copy(&mut received.read_state(), out).map(|_| ());
            return self.write(received.header(), copy);
        }
        let finished = self.path_of(received.header(), FINISHED);
        self.vfs.rename(received.path(), &finished)?;
        self.vfs.sync_dir(&self.dir)?;
        let file = SnapshotFile::open(&finished, self.vfs.open(&finished)?)?;
        self.keep(file.clone())?;
        Ok(file)
    }

    /// Puts a snapshot aside whose content turned out damaged; it is left for a post-mortem.
    pub(crate) fn put_aside(&self, damaged: &SnapshotFile) -> io::Result<()> {
        self.files.lock().retain(|file| file.path() != damaged.path());
        self.rename_damaged(damaged.path())
    }

    fn take_in(&self, path: &Path) -> io::Result<()> {
        match SnapshotFile::open(path, self.vfs.open(path)?) {
            Ok(file) => {
                self.files.lock().push(file);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Err(error),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "unreadable snapshot put aside");
                self.rename_damaged(path)
            }
        }
    }

    fn rename_damaged(&self, path: &Path) -> io::Result<()> {
        self.vfs.rename(path, &path.with_extension(DAMAGED.trim_start_matches('.')))?;
        self.vfs.sync_dir(&self.dir)
    }

    fn keep(&self, newest: SnapshotFile) -> io::Result<()> {
        let mut files = self.files.lock();
        files.retain(|file| file.path() != newest.path());
        files.insert(0, newest);
        files.sort_by_key(|file| std::cmp::Reverse(file.index()));
        let kept = KEPT.min(files.len());
        let old = files.split_off(kept);
        drop(files);
        for file in &old {
            self.vfs.remove(file.path())?;
        }
        if !old.is_empty() {
            self.vfs.sync_dir(&self.dir)?;
        }
        Ok(())
    }

    fn path_of(&self, header: &SnapshotHeader, extension: &str) -> PathBuf {
        // The empty state comes before the entry at index 0.
        let (next_index, term) = match header.log_id() {
            Some(log_id) => (log_id.index + 1, log_id.leader_id.term),
            None => (0, 0),
        };
        self.dir.join(format!("{next_index:016x}-{term:016x}{extension}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{CommittedLeaderId, LogId, SnapshotMeta};
    use crate::vfs::RealFs;
    use std::io::Read;
    use store::engine::MemEngine;

    fn header(index: u64) -> SnapshotHeader {
        let log_id = LogId { leader_id: CommittedLeaderId::new(3), index };
        let meta = SnapshotMeta { last_log_id: Some(log_id), ..SnapshotMeta::default() };
        SnapshotHeader { cluster_id: 77, meta }
    }

    fn open(dir: &Path) -> SnapshotDir {
        SnapshotDir::open(Arc::new(RealFs), dir.join("snap"), None).unwrap()
    }

    fn write(dir: &SnapshotDir, index: u64) -> SnapshotFile {
        let state = format!("state at {index}");
        dir.write(&header(index), |out| out.write_all(state.as_bytes())).unwrap()
    }

    fn indexes(dir: &SnapshotDir) -> Vec<u64> {
        dir.all().iter().filter_map(SnapshotFile::index).collect()
    }

    #[test]
    fn the_last_two_are_kept_and_found_again() {
        // Proves that a reopened directory has the newest two, with header and state intact.
        let temp = tempfile::tempdir().unwrap();
        let dir = open(temp.path());
        assert!(dir.newest().is_none());
        write(&dir, 9);
        assert_eq!(dir.purge_to(), None, "one snapshot alone lets nothing be purged");
        write(&dir, 10);
        write(&dir, 300);
        assert_eq!(dir.purge_to(), Some(10));

        let dir = open(temp.path());
        assert_eq!(indexes(&dir), [300, 10]);
        let newest = dir.newest().unwrap();
        assert_eq!(newest.header(), &header(300));
        let mut state = String::new();
        newest.read_state().read_to_string(&mut state).unwrap();
        assert_eq!(state, "state at 300");
    }

    #[test]
    fn what_is_unfinished_or_damaged_is_not_a_snapshot() {
        // Proves that a crash while writing, and a flipped bit in a header, cost one snapshot only.
        let temp = tempfile::tempdir().unwrap();
        let dir = open(temp.path());
        write(&dir, 5);
        let newest = write(&dir, 6);
        let failed = dir.write(&header(7), |_| Err(io::Error::other("killed")));
        assert!(failed.is_err());
        let mut bytes = std::fs::read(newest.path()).unwrap();
        bytes[18] ^= 1;
        std::fs::write(newest.path(), bytes).unwrap();

        let dir = open(temp.path());
        assert_eq!(indexes(&dir), [5]);
        let names = RealFs.read_dir(&temp.path().join("snap")).unwrap();
        assert!(names.iter().all(|name| !name.ends_with(UNFINISHED)), "{names:?}");
        assert!(names.iter().any(|name| name.ends_with(DAMAGED)), "{names:?}");
    }

    #[test]
    fn one_that_comes_in_leaves_the_one_before_it_alone() {
        // Proves that a sender who gave up on an answer and sends again cannot overwrite what is
        // about to be adopted, and that what nobody adopts does not stay on the disk.
        let temp = tempfile::tempdir().unwrap();
        let source = SnapshotDir::open(Arc::new(RealFs), temp.path().join("of leader"), None);
        let store = store::Store::open(Arc::new(MemEngine::new()), store::Options::default());
        let state = store.unwrap().snapshot();
        let write = |mut out: &mut dyn Write| state.write_to(&mut out).map_err(io::Error::other);
        let sent = source.unwrap().write(&header(9), write).unwrap();
        let sent = std::fs::read(sent.path()).unwrap();

        let dir = open(temp.path());
        let mut first = dir.receive().unwrap();
        first.write(&sent).unwrap();
        let first = first.finish().unwrap();
        let mut second = dir.receive().unwrap();
        second.write(b"another").unwrap();
        let adopted = dir.adopt(&first).unwrap();
        assert_eq!(std::fs::read(adopted.path()).unwrap(), sent);
        assert!(second.finish().is_err());
        let mut third = dir.receive().unwrap();
        third.write(&sent).unwrap();
        drop(third.finish().unwrap());
        drop(first);
        let names = RealFs.read_dir(&temp.path().join("snap")).unwrap();
        assert_eq!(names, [adopted.path().file_name().unwrap().to_string_lossy()]);
    }

    #[test]
    fn one_that_went_bad_gives_way_to_the_one_before_it() {
        // Proves that a good one is believed, that a bad one is put aside only if there is another
        // to send, and that either way another is wanted until it is written.
        let temp = tempfile::tempdir().unwrap();
        let dir = open(temp.path());
        let store = store::Store::open(Arc::new(MemEngine::new()), store::Options::default());
        let state = store.unwrap().snapshot();
        let write = |index| {
            let write =
                |mut out: &mut dyn Write| state.write_to(&mut out).map_err(io::Error::other);
            dir.write(&header(index), write).unwrap()
        };
        let spoil = |file: &SnapshotFile| {
            let mut bytes = std::fs::read(file.path()).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(file.path(), bytes).unwrap();
        };
        let only = write(5);
        assert!(!dir.doubt(&only).unwrap() && !dir.is_one_wanted());
        spoil(&only);
        assert!(dir.doubt(&only).unwrap() && dir.is_one_wanted());
        assert_eq!(indexes(&dir), [5]);

        let newest = write(6);
        assert!(!dir.is_one_wanted());
        spoil(&newest);
        assert!(dir.doubt(&newest).unwrap() && dir.is_one_wanted());
        assert_eq!(indexes(&dir), [5]);
    }

    #[test]
    fn a_newer_version_is_refused() {
        // Proves that an older berth does not discard what it cannot read.
        let temp = tempfile::tempdir().unwrap();
        let newest = write(&open(temp.path()), 5);
        let mut bytes = std::fs::read(newest.path()).unwrap();
        bytes[11] = 2;
        std::fs::write(newest.path(), bytes).unwrap();
        let refused = SnapshotDir::open(Arc::new(RealFs), temp.path().join("snap"), None);
        assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::Unsupported);
    }
}
