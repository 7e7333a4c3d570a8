//! The handle that callers hold.

use super::error::Error;
use super::options::{METADATA_BYTES_MAX, Options};
use super::read::{Plan, missing};
use super::recovery;
use super::segment::Disk;
use super::state::{Request, Shared, State};
use super::writer::Writer;
use super::{Done, ErrorKind, Recovered, Stats, WalEntry};
use crate::vfs::Vfs;
use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Held by the process that has the log open.
const LOCK_NAME: &str = "LOCK";

/// A handle on the log; clones share it. When the last one is dropped the writer ends.
#[derive(Clone)]
pub struct Wal {
    shared: Arc<Shared>,
    _closer: Arc<Closer>,
}

/// Closes the log when the last handle is gone.
struct Closer {
    shared: Arc<Shared>,
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Wal {
    /// Opens the log in `dir`, or creates it with `metadata` (at most [`METADATA_BYTES_MAX`]).
    /// Blocks until all segments are read; nothing is written by anyone until [`Writer::run`] runs.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`], [`ErrorKind::Corrupt`], [`ErrorKind::Version`] or [`ErrorKind::Io`];
    /// the message names file and byte.
    pub fn create_or_open(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        metadata: Bytes,
        options: Options,
    ) -> Result<(Wal, Recovered, Writer), Error> {
        check_options(&options, &metadata)?;
        let disk = Disk { vfs, dir: dir.to_owned(), options };
        disk.vfs
            .create_dir_all(dir)
            .map_err(|error| disk.io_error("cannot create directory", "", &error))?;
        let lock = disk.vfs.lock(&dir.join(LOCK_NAME)).map_err(|error| lock_error(dir, &error))?;
        let recovery = recovery::open(&disk, metadata)?;
        let (torn_bytes, file_len) = (recovery.torn_bytes, recovery.file_len);
        let metadata = recovery.metadata;
        let mut state = State::new(recovery.index, recovery.segments);
        load_recent(&mut state, disk.options.cache_bytes)?;
        let vote = state.index.vote.clone();
        let shared = Arc::new(Shared { state: Mutex::new(state), waker: AtomicWaker::new() });
        let closer = Closer { shared: Arc::clone(&shared) };
        let wal = Wal { shared: Arc::clone(&shared), _closer: Arc::new(closer) };
        let (purged, last) = (wal.purged(), wal.last()?);
        let writer = Writer::new(shared, disk, lock, metadata.clone(), file_len);
        Ok((wal, Recovered { vote, purged, last, metadata, torn_bytes }, writer))
    }

    /// The metadata that the log in `dir` was created with; `None` if there is no log. Changes
    /// nothing, and does not look further than that.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], [`ErrorKind::Version`] or [`ErrorKind::Io`].
    pub fn metadata(vfs: Arc<dyn Vfs>, dir: &Path) -> Result<Option<Bytes>, Error> {
        recovery::peek(&Disk { vfs, dir: dir.to_owned(), options: Options::default() })
    }

    /// Appends entries; readable as soon as this returns, durable when `done` is told so. Their
    /// indexes must go on from [`Wal::next_index`] (any index above the purge mark while the log
    /// has no entries).
    pub fn append(&self, entries: Vec<WalEntry>, done: Done) {
        self.submit(Request::Append(entries), done);
    }

    /// Saves the vote.
    pub fn save_vote(&self, vote: Bytes, done: Done) {
        self.submit(Request::Vote(vote), done);
    }

    /// Removes every entry after `index` (`None`: all). At or above the purge mark.
    pub fn truncate_after(&self, index: Option<u64>, done: Done) {
        let next = index.map_or(0, |index| index.saturating_add(1));
        self.submit(Request::Next(next), done);
    }

    /// Removes every entry up to and with `index` and remembers its `log_id`. May lie beyond the
    /// last entry: the log is then empty and goes on behind it. At or below the purge mark it does
    /// nothing. Whole segments that hold nothing above the mark are deleted.
    pub fn purge(&self, index: u64, log_id: Bytes, done: Done) {
        self.submit(Request::Purge(index, log_id), done);
    }

    fn submit(&self, request: Request, done: Done) {
        let accepted = self.shared.state.lock().accept(request, done);
        match accepted {
            Ok(()) => self.shared.waker.wake(),
            Err((error, done)) => done(Err(error)),
        }
    }

    /// Entries from `from` up to `to` (exclusive), in order, without gap: at least one (if the
    /// range is not empty), then as many as fit in `bytes_max`. Blocks on the disk for entries that
    /// left the cache.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if an index of the range is purged or beyond the end.
    pub fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<WalEntry>, Error> {
        let plan = {
            let state = self.shared.state.lock();
            check_failed(&state)?;
            if from < to && from < state.first {
                return Err(missing(from));
            }
            if from < to && to > state.next {
                return Err(missing(state.next));
            }
            Plan::new(&state, from, to, bytes_max)?
        };
        plan.run()
    }

    /// The index of the first entry; equal to [`Wal::next_index`] if there is none.
    pub fn first_index(&self) -> u64 {
        self.shared.state.lock().first
    }

    /// The index that the next append must have.
    pub fn next_index(&self) -> u64 {
        self.shared.state.lock().next
    }

    /// What [`Wal::next_index`] was when the last write became durable.
    pub fn durable_next_index(&self) -> u64 {
        self.shared.state.lock().index.next()
    }

    /// The last entry's index and log id; without entries, the purge mark.
    pub fn last(&self) -> Result<Option<(u64, Bytes)>, Error> {
        let (next, purged) = {
            let state = self.shared.state.lock();
            if let Some(entry) = state.next.checked_sub(1).and_then(|last| state.recent.get(last)) {
                return Ok(Some((entry.index, entry.log_id.clone())));
            }
            if state.first == state.next {
                return Ok(state.purged.clone());
            }
            (state.next, state.purged.clone())
        };
        Ok(self.log_id_of(next - 1)?.map(|log_id| (next - 1, log_id)).or(purged))
    }

    /// The purge mark.
    pub fn purged(&self) -> Option<(u64, Bytes)> {
        self.shared.state.lock().purged.clone()
    }

    /// The log id at an index: of an entry, or of the purge mark. `None`: not in the log.
    pub fn log_id_of(&self, index: u64) -> Result<Option<Bytes>, Error> {
        if let Some((purged, log_id)) = self.purged()
            && purged == index
        {
            return Ok(Some(log_id));
        }
        match self.read(index, index.saturating_add(1), 0) {
            Ok(mut entries) => Ok(entries.pop().map(|entry| entry.log_id)),
            Err(error) if error.kind() == ErrorKind::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes of the written log from its first entry to its end.
    pub fn bytes(&self) -> u64 {
        let state = self.shared.state.lock();
        state.segments.bytes_from(state.index.first_slot())
    }

    /// Bytes of the written log behind the entry at `index`.
    pub fn bytes_after(&self, index: u64) -> u64 {
        let state = self.shared.state.lock();
        let behind = index.saturating_add(1);
        let slot =
            if behind < state.first { state.index.first_slot() } else { state.index.slot(behind) };
        state.segments.bytes_from(slot)
    }

    /// Counters since the opening.
    pub fn stats(&self) -> Stats {
        self.shared.state.lock().stats
    }

    /// The failure that poisoned the log, if one did: every later call fails with it.
    pub fn failed(&self) -> Option<Error> {
        self.shared.state.lock().failed.clone()
    }

    /// Ends the writer after what waits is durable; later requests fail with
    /// [`ErrorKind::Stopped`].
    pub fn close(&self) {
        self.shared.close();
    }
}

impl Shared {
    fn close(&self) {
        self.state.lock().closed = true;
        self.waker.wake();
    }
}

fn check_failed(state: &State) -> Result<(), Error> {
    state.failed.clone().map_or(Ok(()), Err)
}

fn check_options(options: &Options, metadata: &Bytes) -> Result<(), Error> {
    use super::options::{ALLOCATE_BYTES_MAX, SEGMENT_BYTES_MAX};
    let refused = |why: String| Err(Error::new(ErrorKind::Refused, why));
    if options.segment_bytes > SEGMENT_BYTES_MAX {
        return refused(format!("segments of more than {SEGMENT_BYTES_MAX} bytes"));
    }
    if options.allocate_bytes > ALLOCATE_BYTES_MAX {
        return refused(format!("allocation in steps of more than {ALLOCATE_BYTES_MAX} bytes"));
    }
    if metadata.len() > METADATA_BYTES_MAX {
        return refused(format!("metadata of more than {METADATA_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn lock_error(dir: &Path, error: &io::Error) -> Error {
    let dir = dir.display();
    if error.kind() == io::ErrorKind::WouldBlock {
        let why = format!("another process has the log in {dir} open");
        return Error::new(ErrorKind::Locked, why);
    }
    Error::new(ErrorKind::Io, format!("cannot lock {dir}/{LOCK_NAME}: {error}"))
}

/// Fills the cache with the newest entries, at least the last.
fn load_recent(state: &mut State, cache_bytes: usize) -> Result<(), Error> {
    let (mut from, mut bytes) = (state.next, 0);
    while from > state.first {
        let Some(slot) = state.index.slot(from - 1) else { break };
        bytes += slot.len as usize;
        if bytes > cache_bytes && from < state.next {
            break;
        }
        from -= 1;
    }
    for entry in Plan::new(state, from, state.next, usize::MAX)?.run()? {
        state.recent.push(entry, 0);
    }
    Ok(())
}
