//! Raft's log and vote on the write-ahead log.
//!
//! The WAL keeps the order and the promises of durability; here is only the translation, and a
//! cache of decoded entries. Every write goes through the WAL's one stream, as openraft demands
//! (its `docs/protocol/io_ordering.md`): a vote never overtakes an entry, nor the reverse.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;
use store::planted::{self, Mistake};

use futures::channel::oneshot;
use futures::stream::{self, Stream, StreamExt};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{AsyncRuntime, EntryPayload, LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::codec;
use crate::config::Trail;
use crate::log_cache::LogCache;
use crate::sole::Sole;
use crate::types::{Entry, LogId, Types, Vote};
use crate::wal::{self, Wal, WalEntry};

/// Memory for decoded entries.
pub(crate) const LOG_CACHE_BYTES_MAX: usize = 16 << 20;

/// One piece of a long read: large enough to pay for its disk access, small enough for memory.
const READ_BYTES_MAX: usize = 1 << 20;

/// Most entries that one piece of a read takes from the cache, under its lock.
const READ_ENTRIES_MAX: usize = 256;

/// Clones share the log; openraft writes through one and reads through others.
#[derive(Clone)]
pub(crate) struct LogStore {
    wal: Wal,
    sole: Sole,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    cache: LogCache,
    /// The last vote that is on disk.
    vote: Option<Vote>,
    /// Lives as long as the process. That it is lost in a crash costs nothing: the next leader's
    /// first entry commits everything before it.
    committed: Option<LogId>,
}

impl LogStore {
    /// Over an opened log; `vote` is what the opening recovered.
    pub(crate) fn new(wal: Wal, vote: Option<Vote>, sole: Sole) -> LogStore {
        let cache = LogCache::new(LOG_CACHE_BYTES_MAX);
        let shared = Arc::new(Mutex::new(Shared { cache, vote, committed: None }));
        LogStore { wal, sole, shared }
    }

    /// The next entries of `range`, at least one if it is not empty, about [`READ_BYTES_MAX`].
    ///
    /// Blocks on the disk for entries that left both caches: that is a restart, or a follower
    /// far behind, and then there is nothing better to do.
    fn read_piece(&self, range: Range<u64>) -> io::Result<Vec<Entry>> {
        let cached = self.shared.lock().cache.get(range.clone(), READ_ENTRIES_MAX);
        if !cached.is_empty() || range.is_empty() {
            return Ok(cached);
        }
        let read = self.wal.read(range.start, range.end, READ_BYTES_MAX)?;
        read.into_iter().map(decode).collect()
    }

    /// What of a requested range the log has.
    fn clamp(&self, range: impl RangeBounds<u64>) -> Range<u64> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let start = start.max(self.wal.first_index());
        start..end.min(self.wal.next_index()).max(start)
    }
}

impl<R: AsyncRuntime> RaftLogReader<Types<R>> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let mut rest = self.clamp(range);
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let piece = self.read_piece(rest.clone())?;
            rest.start = after(&piece, &rest)?;
            entries.extend(piece);
        }
        Ok(entries)
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // In pieces: after a restart the whole log may be one range.
        let state = (self.clone(), self.clamp(range));
        let pieces = stream::unfold(state, |(store, rest)| async move {
            if rest.is_empty() {
                return None;
            }
            let piece =
                store.read_piece(rest.clone()).and_then(|piece| Ok((after(&piece, &rest)?, piece)));
            Some(match piece {
                Ok((next, piece)) => (Ok(piece), (store, next..rest.end)),
                Err(error) => (Err(error), (store, rest.end..rest.end)),
            })
        });
        pieces.flat_map(|piece| match piece {
            Ok(entries) => stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        })
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read_piece(self.clamp(start..end))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared.lock().vote)
    }
}

impl<R: AsyncRuntime> RaftLogStorage<Types<R>> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types<R>>, io::Error> {
        let decode = |(_, log_id): (u64, bytes::Bytes)| codec::decode_log_id(&log_id);
        Ok(LogState {
            last_purged_log_id: self.wal.purged().map(decode).transpose()?,
            last_log_id: self.wal.last()?.map(decode).transpose()?,
        })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.sole.voting(vote);
        if planted::is(Mistake::ForgetVote) {
            return Ok(());
        }
        let (done, saved) = completion();
        self.wal.save_vote(codec::encode_vote(vote), done);
        wait(saved).await?;
        self.shared.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.shared.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.shared.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types<R>>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        for entry in &entries {
            if let EntryPayload::Membership(membership) = &entry.payload {
                self.sole.appending(entry.log_id.index, membership);
            }
        }
        let encoded = entries.iter().map(encode).collect();
        let trails: SmallVec<[Arc<dyn Trail>; 1]> = entries.iter().filter_map(trail).collect();
        let done = move |result: Result<(), wal::Error>| {
            if result.is_ok() {
                trails.iter().for_each(|trail| trail.written());
            }
            flushed.io_completed(result.map_err(io::Error::from));
        };
        self.wal.append(encoded, Box::new(done));
        let mut shared = self.shared.lock();
        entries.into_iter().for_each(|entry| shared.cache.push(entry));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let index = last.map(|log_id| log_id.index);
        self.sole.replacing();
        self.shared.lock().cache.truncate_after(index);
        let (done, truncated) = completion();
        self.wal.truncate_after(index, done);
        wait(truncated).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.shared.lock().cache.purge(upto.index);
        // Nothing rests on a purge being durable: done again it purges the same. A failure poisons
        // the log, and the next append reports it.
        self.wal.purge(upto.index, codec::encode_log_id(&upto), Box::new(|_| ()));
        Ok(())
    }
}

fn trail(entry: &Entry) -> Option<Arc<dyn Trail>> {
    match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.trail(),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    }
}

fn encode(entry: &Entry) -> WalEntry {
    WalEntry {
        index: entry.log_id.index,
        log_id: codec::encode_log_id(&entry.log_id),
        payload: codec::encode_payload(&entry.payload),
    }
}

fn decode(entry: WalEntry) -> io::Result<Entry> {
    let log_id = codec::decode_log_id(&entry.log_id)?;
    // Openraft looks for the ends of terms by index, and would look for ever.
    if log_id.index != entry.index {
        let WalEntry { index, .. } = entry;
        let what = format!("entry {index} of the log says that it is entry {}", log_id.index);
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(Entry { log_id, payload: codec::decode_payload(entry.payload)? })
}

/// Where a read goes on after `piece`, which must be a run from the start of `rest`.
fn after(piece: &[Entry], rest: &Range<u64>) -> io::Result<u64> {
    match (piece.first(), piece.last()) {
        (Some(first), Some(last)) if first.log_id.index == rest.start => Ok(last.log_id.index + 1),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the log has a hole at index {}", rest.start),
        )),
    }
}

type Completion = oneshot::Receiver<Result<(), wal::Error>>;

/// A callback for the WAL, and what it resolves.
fn completion() -> (wal::Done, Completion) {
    let (tx, rx) = oneshot::channel();
    let done = move |result| {
        // Nobody listens if openraft was dropped meanwhile.
        let _ = tx.send(result);
    };
    (Box::new(done), rx)
}

async fn wait(completion: Completion) -> io::Result<()> {
    match completion.await {
        Ok(result) => result.map_err(io::Error::from),
        Err(oneshot::Canceled) => Err(io::Error::other("the log's writer has stopped")),
    }
}

#[cfg(test)]
mod tests;
