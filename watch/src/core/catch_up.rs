//! Watchers that are behind, served slice by slice.
//!
//! A slice is planned under the hub's lock, read without it, and handed out under it again. It
//! begins where the watcher stands whose turn it is, and serves all others that stand near, so a
//! herd that starts at one revision is one scan. Turns go round the streams, and within a stream
//! round its watchers.

use std::ops::Bound;
use std::sync::Arc;
use store::planted::{self, Mistake};

use store::Error;

use super::dispatch::{PAIRS_MAX, Pairs};
use super::{Core, StreamKey, WatcherKey};
use crate::Options;
use crate::Source;
use crate::event::{Batch, SharedEvent};
use crate::index::Index;
use crate::options::SLICE_WATCHERS;
use crate::sink::Wakes;
use crate::target::Target;

/// What to read, and for whom.
pub(crate) struct Slice {
    stream: StreamKey,
    from: i64,
    members: Vec<Member>,
    /// The batches themselves if they are still in memory.
    recent: Option<Vec<Arc<Batch>>>,
    /// Everything up to here was dispatched when the slice was planned.
    dispatched: i64,
    source: Arc<dyn Source>,
    options: Options,
}

struct Member {
    key: WatcherKey,
    target: Target,
    /// Where it stood: if it stands elsewhere later, the slice is not for it.
    next: i64,
}

/// What was read, and who gets what.
pub(crate) struct Chunk {
    events: Vec<Arc<SharedEvent>>,
    /// Everything below this is in `events`, for all members.
    next: i64,
    /// Only so many members, from the first, can be served with it.
    served: usize,
    /// Position of a member, position of an event; sorted.
    pairs: Pairs,
    /// The store's revision afterwards: what headers of late events say.
    current: i64,
}

impl Core {
    /// The next slice; `None` if no stream has watchers behind and room for events.
    pub(crate) fn plan(&mut self) -> Option<Slice> {
        let source = self.source.get();
        while let Some(stream_key) = self.turns.pop_front() {
            let Some(stream) = self.streams.get_mut(&stream_key) else { continue };
            stream.has_turn = false;
            if stream.behind.is_empty() || !stream.sink.has_room() {
                continue;
            }
            let Some(head) = stream.next_behind() else { continue };
            let Some(watcher) = self.watchers.get(&head) else { continue };
            let from = watcher.next;
            let in_ring = self.ring.covers(from);
            if !in_ring && from < source.compact_revision() {
                self.end_compacted(head, source.compact_revision());
                self.settle_progress();
                self.give_turn(stream_key);
                continue;
            }
            let recent = in_ring.then(|| self.ring.slice(from, &self.options));
            let members = self.members(head, from);
            let (dispatched, stream) = (self.revision, stream_key);
            let options = self.options;
            return Some(Slice { stream, from, members, recent, dispatched, source, options });
        }
        None
    }

    /// `head` and whoever stands less than a slice further, and has room.
    fn members(&self, head: WatcherKey, from: i64) -> Vec<Member> {
        let end = from.saturating_add(i64::from(self.options.slice_revisions));
        let near = self.cursors.range((from, 0)..(end, 0)).map(|(_, key)| *key);
        let near = near.take(SLICE_WATCHERS).filter(|key| *key != head);
        let near = near.filter_map(|key| Some((key, self.watchers.get(&key)?)));
        let near = near.filter(|(_, watcher)| watcher.sink.has_room());
        let head = self.watchers.get(&head).map(|watcher| (head, watcher));
        let all = head.into_iter().chain(near);
        all.map(|(key, watcher)| Member { key, target: watcher.target.clone(), next: watcher.next })
            .collect()
    }

    /// Hands out what was read. Whoever has everything that was dispatched is synced again.
    pub(crate) fn hand_out(&mut self, slice: &Slice, read: Result<Chunk, Error>) {
        match read {
            Ok(chunk) => self.hand_out_chunk(slice, &chunk),
            Err(Error::Compacted) => self.end_members_below(slice),
            // The new state will be here soon, and then everybody gets a turn.
            Err(Error::Replaced) => return,
            Err(_) => self.close_streams_of(slice),
        }
        self.give_turn(slice.stream);
        self.settle_progress();
    }

    fn hand_out_chunk(&mut self, slice: &Slice, chunk: &Chunk) {
        let mut wakes = Wakes::default();
        let mut pairs = chunk.pairs.chunk_by(|a, b| a.0 == b.0).peekable();
        for (position, member) in slice.members[..chunk.served].iter().enumerate() {
            let hits = pairs.next_if(|hits| hits[0].0 == position as u64).unwrap_or_default();
            let Some(watcher) = self.watchers.get_mut(&member.key) else { continue };
            if !watcher.behind || watcher.next != member.next {
                continue;
            }
            let events = hits.iter().map(|(_, event)| &chunk.events[*event]);
            if watcher.deliver(events, chunk.current, &mut wakes) {
                self.advance(member, chunk.next);
            }
        }
    }

    /// Moves a watcher that is behind to `next`, and into the index if that is far enough.
    fn advance(&mut self, member: &Member, next: i64) {
        let Some(watcher) = self.watchers.get_mut(&member.key) else { return };
        watcher.next = next.max(member.next);
        let stream_key = watcher.stream;
        self.cursors.remove(&(member.next, member.key));
        if watcher.next <= self.revision {
            self.cursors.insert((watcher.next, member.key));
        } else {
            watcher.behind = false;
            self.index.insert(&watcher.target, member.key);
            if let Some(stream) = self.streams.get_mut(&stream_key) {
                stream.behind.remove(&member.key);
            }
        }
        self.give_turn(stream_key);
    }

    /// The history was compacted between planning and reading.
    fn end_members_below(&mut self, slice: &Slice) {
        let compacted = slice.source.compact_revision();
        let below = slice.members.iter().filter(|member| member.next <= slice.from);
        for key in below.map(|member| member.key).collect::<Vec<_>>() {
            self.end_compacted(key, compacted);
        }
    }

    /// The engine failed: the server is about to stop, and must not pretend that nothing happened.
    fn close_streams_of(&mut self, slice: &Slice) {
        for member in &slice.members {
            if let Some(watcher) = self.watchers.get(&member.key) {
                watcher.sink.close();
            }
        }
        if let Some(stream) = self.streams.get_mut(&slice.stream) {
            stream.behind.clear();
        }
    }
}

impl super::Stream {
    /// Round the watchers that are behind.
    fn next_behind(&mut self) -> Option<WatcherKey> {
        let after = (Bound::Excluded(self.served_last), Bound::Unbounded);
        let next = self.behind.range(after).next().or_else(|| self.behind.first());
        let next = next.copied()?;
        self.served_last = next;
        Some(next)
    }
}

impl Slice {
    /// Reads, without any lock of the hub.
    pub(crate) fn read(&mut self) -> Result<Chunk, Error> {
        let (events, next) = match self.recent.take() {
            Some(batches) => self.read_ring(&batches),
            None => self.read_history()?,
        };
        let (served, pairs) = self.match_members(&events);
        Ok(Chunk { events, next, served, pairs, current: self.source.revision() })
    }

    fn read_ring(&self, batches: &[Arc<Batch>]) -> (Vec<Arc<SharedEvent>>, i64) {
        // No batch at all: nothing after `from` was dispatched yet.
        let next = batches.last().map_or(self.dispatched + 1, |batch| batch.revision + 1);
        let events = batches.iter().flat_map(|batch| batch.events.iter().cloned()).collect();
        (events, next)
    }

    fn read_history(&self) -> Result<(Vec<Arc<SharedEvent>>, i64), Error> {
        let index = self.index(self.members.len());
        let filter = |key: &[u8]| index.contains(key);
        let to = self.from.saturating_add(i64::from(self.options.slice_revisions.max(1)) - 1);
        let to = to.min(self.source.revision());
        let chunk = self.source.history(self.from, to, &filter, self.options.slice_bytes)?;
        let events = chunk.events.into_iter().map(|event| Arc::new(SharedEvent::new(event)));
        let dropped = usize::from(planted::is(Mistake::DropEvent) && events.len() > 1);
        let events = events.skip(dropped);
        Ok((events.collect(), chunk.next))
    }

    /// How many members can be served, so that the pairs fit into memory; and the pairs.
    fn match_members(&self, events: &[Arc<SharedEvent>]) -> (usize, Pairs) {
        let mut served = self.members.len();
        loop {
            if let Some(pairs) = self.pairs(events, served) {
                return (served, pairs);
            }
            served = served.div_ceil(16);
        }
    }

    /// `None`: too many. One member alone is always served.
    fn pairs(&self, events: &[Arc<SharedEvent>], served: usize) -> Option<Pairs> {
        let index = self.index(served);
        let mut pairs = Pairs::new();
        for (position, event) in events.iter().enumerate() {
            index.visit(event.key(), &mut |member| pairs.push((member, position)));
            if pairs.len() > PAIRS_MAX && served > 1 {
                return None;
            }
        }
        pairs.sort_unstable();
        Some(pairs)
    }

    /// The first `served` members by position.
    fn index(&self, served: usize) -> Index {
        let mut index = Index::default();
        for (position, member) in self.members[..served].iter().enumerate() {
            index.insert(&member.target, position as u64);
        }
        index
    }
}
