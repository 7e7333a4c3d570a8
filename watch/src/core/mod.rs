//! The state of the hub behind its one lock, and what each step does to it.
//!
//! Nothing here reads values or history: that happens between two steps, without the lock
//! (`catch_up`), or in the stream that sends the event.
//!
//! A watcher is *synced* (in `index`) or *behind* (in `cursors`), never both:
//! - synced: it has everything below `next` and, of what it wants, everything up to `revision`;
//! - behind: it has everything below `next`, and `next <= revision`.

mod catch_up;
mod create;
mod dispatch;
mod progress;
mod remove;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use store::EventKind;

pub(crate) use create::answer;

use crate::event::SharedEvent;
use crate::index::Index;
use crate::ring::Ring;
use crate::sink::{Delivery, Events, Offer, Queued, Sink, Wakes};
use crate::target::Target;
use crate::{Options, Source, Stats};

/// Never used twice.
pub(crate) type WatcherKey = u64;
/// Never used twice.
pub(crate) type StreamKey = u64;

pub(crate) struct Core {
    pub(crate) source: Arc<SourceCell>,
    options: Options,
    /// Everything up to here was dispatched to the synced watchers.
    revision: i64,
    ring: Ring,
    /// The synced watchers.
    index: Index,
    /// Looked up and never iterated, except sorted.
    watchers: FxHashMap<WatcherKey, Watcher>,
    streams: BTreeMap<StreamKey, Stream>,
    /// The watchers that are behind, by the first revision they lack.
    cursors: BTreeSet<(i64, WatcherKey)>,
    /// Streams with watchers behind, in the order in which they are served.
    turns: VecDeque<StreamKey>,
    /// Streams that asked for progress and were not answered yet.
    asked: BTreeSet<StreamKey>,
    /// When which stream's watchers hear of progress.
    notify_due: BTreeSet<(u64, StreamKey)>,
    now_ms: u64,
    keys_used: u64,
}

struct Watcher {
    stream: StreamKey,
    sink: Arc<Sink>,
    id: i64,
    target: Target,
    no_put: bool,
    no_delete: bool,
    prev_kv: bool,
    fragment: bool,
    progress_notify: bool,
    /// No event was queued since the last progress notification was due.
    quiet: bool,
    /// The start revision asked for; 0 if none.
    start: i64,
    /// It has everything below this. Not moved while synced: then `revision` says more.
    next: i64,
    behind: bool,
}

#[derive(Default)]
struct Watches {
    /// `None`: compaction ended it, and the client has not yet cancelled it.
    by_id: BTreeMap<i64, Option<WatcherKey>>,
    next_id: i64,
}

struct Stream {
    sink: Arc<Sink>,
    watches: Watches,
    behind: BTreeSet<WatcherKey>,
    /// Whose turn was last, among `behind`.
    served_last: WatcherKey,
    /// It is in `turns`.
    has_turn: bool,
    notify: BTreeSet<WatcherKey>,
    /// It is in `notify_due`.
    notify_planned: bool,
    /// Revision that an asked progress must reach.
    progress_at: i64,
}

/// The source, which is exchanged when the whole state is.
pub(crate) struct SourceCell(RwLock<Arc<dyn Source>>);

impl SourceCell {
    pub(crate) fn new(source: Arc<dyn Source>) -> SourceCell {
        SourceCell(RwLock::new(source))
    }

    pub(crate) fn get(&self) -> Arc<dyn Source> {
        Arc::clone(&self.0.read())
    }

    pub(crate) fn set(&self, source: Arc<dyn Source>) {
        *self.0.write() = source;
    }
}

impl Core {
    pub(crate) fn new(source: Arc<SourceCell>, options: Options) -> Core {
        let revision = source.get().revision();
        Core {
            source,
            options,
            revision,
            ring: Ring::new(revision + 1, options.ring_bytes),
            index: Index::default(),
            watchers: FxHashMap::default(),
            streams: BTreeMap::new(),
            cursors: BTreeSet::new(),
            turns: VecDeque::new(),
            asked: BTreeSet::new(),
            notify_due: BTreeSet::new(),
            now_ms: 0,
            keys_used: 0,
        }
    }

    pub(crate) fn open(&mut self) -> (StreamKey, Arc<Sink>) {
        let key = self.new_key();
        let sink = Arc::new(Sink::new(self.options.buffer_bytes_per_stream));
        let stream = Stream {
            sink: Arc::clone(&sink),
            watches: Watches::default(),
            behind: BTreeSet::new(),
            served_last: 0,
            has_turn: false,
            notify: BTreeSet::new(),
            notify_planned: false,
            progress_at: 0,
        };
        self.streams.insert(key, stream);
        (key, sink)
    }

    pub(crate) fn has_turns(&self) -> bool {
        !self.turns.is_empty()
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            streams: self.streams.len(),
            watchers: self.watchers.len(),
            slow_watchers: self.cursors.len(),
        }
    }

    pub(crate) fn close(&self) {
        self.streams.values().for_each(|stream| stream.sink.close());
    }

    fn new_key(&mut self) -> u64 {
        self.keys_used += 1;
        self.keys_used
    }

    /// Takes a synced watcher (or a new one) to catch up from `next` on.
    fn fall_behind(&mut self, key: WatcherKey, next: i64) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        self.index.remove(&watcher.target, key);
        watcher.behind = true;
        watcher.next = next;
        let stream = watcher.stream;
        self.cursors.insert((next, key));
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.behind.insert(key);
        }
        self.give_turn(stream);
    }

    /// Puts all streams with watchers behind in the line: there is a new source.
    pub(crate) fn give_turns(&mut self) {
        let streams: Vec<StreamKey> = self.streams.keys().copied().collect();
        streams.into_iter().for_each(|stream| self.give_turn(stream));
    }

    /// Wakes all streams: there is a new source, which some may wait for.
    pub(crate) fn wake_streams(&self) {
        self.streams.values().for_each(|stream| stream.sink.wake());
    }

    /// Puts a stream with watchers behind at the end of the line, if it is not in it.
    pub(crate) fn give_turn(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if !stream.has_turn && !stream.behind.is_empty() {
            stream.has_turn = true;
            self.turns.push_back(key);
        }
    }
}

impl Watcher {
    fn wants(&self, event: &SharedEvent) -> bool {
        let filtered = match event.kind() {
            EventKind::Put => self.no_put,
            EventKind::Delete => self.no_delete,
        };
        !filtered && event.revision() >= self.next
    }

    /// Queues those of `events` that it wants. `false`: its stream is full, nothing was queued.
    #[must_use]
    fn deliver<'a>(
        &mut self,
        events: impl Iterator<Item = &'a Arc<SharedEvent>>,
        revision: i64,
        wakes: &mut Wakes,
    ) -> bool {
        let events: Events = events.filter(|event| self.wants(event)).cloned().collect();
        if events.is_empty() {
            return true;
        }
        let (watch_id, prev_kv, fragment) = (self.id, self.prev_kv, self.fragment);
        let delivery = Delivery { watch_id, revision, events, prev_kv, fragment };
        let accepted = self.offer(Queued::Events(delivery), wakes);
        self.quiet &= !accepted;
        accepted
    }

    /// `false`: the stream is full.
    #[must_use]
    fn offer(&self, response: Queued, wakes: &mut Wakes) -> bool {
        let offer = self.sink.offer(response);
        if offer == Offer::First {
            wakes.add(&self.sink);
        }
        offer != Offer::Refused
    }
}
