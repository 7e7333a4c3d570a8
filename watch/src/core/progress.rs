//! Progress: telling a client up to where it has everything.
//!
//! It is queued behind the events it speaks of, and says the dispatched revision only: the store
//! may be further.

use super::create::{NO_WATCH_ID, answer};
use super::{Core, StreamKey, Watcher, WatcherKey};
use crate::interval::scatter;
use crate::sink::{Queued, Wakes};
use store::planted::{self, Mistake};

impl Core {
    /// Answers at once if all watches of the stream are synced, otherwise when they are; requests
    /// that wait together get one answer. A stream without watches is not answered, as in etcd.
    pub(crate) fn request_progress(&mut self, stream_key: StreamKey) {
        let current = self.source.get().revision();
        let Some(stream) = self.streams.get_mut(&stream_key) else { return };
        let keys = stream.watches.by_id.values().flatten();
        let watchers = keys.filter_map(|key| self.watchers.get(key));
        if let Some(ready) = watchers.map(Watcher::progress_from).max() {
            stream.progress_at = ready.max(current);
            self.asked.insert(stream_key);
            self.settle_progress();
        }
    }

    /// A watch created while an answer is owed is part of the stream it speaks for.
    pub(super) fn defer_progress(&mut self, watcher: &Watcher) {
        if let Some(stream) = self.streams.get_mut(&watcher.stream) {
            stream.progress_at = stream.progress_at.max(watcher.progress_from());
        }
    }

    /// Gives the answers that are owed and can be given now.
    pub(crate) fn settle_progress(&mut self) {
        let (revision, streams) = (self.revision, &self.streams);
        self.asked.retain(|key| {
            let Some(stream) = streams.get(key) else { return false };
            if !stream.watches.by_id.values().any(Option::is_some) {
                return false;
            }
            let is_behind = !stream.behind.is_empty() || revision < stream.progress_at;
            if is_behind && !planted::is(Mistake::ProgressAhead) {
                return true;
            }
            stream.sink.push(answer(revision, NO_WATCH_ID));
            false
        });
    }

    pub(super) fn plan_notify(&mut self, stream_key: StreamKey, watcher: WatcherKey) {
        let due_ms = self.notify_due_ms(stream_key);
        let Some(stream) = self.streams.get_mut(&stream_key) else { return };
        stream.notify.insert(watcher);
        if !stream.notify_planned {
            stream.notify_planned = true;
            self.notify_due.insert((due_ms, stream_key));
        }
    }

    /// Up to a tenth later for some streams than for others, so that clients that came together
    /// are not all told together.
    fn notify_due_ms(&self, stream: StreamKey) -> u64 {
        let interval_ms = self.options.progress_interval_ms;
        let jitter_ms = scatter(stream) % (interval_ms / 10).max(1);
        self.now_ms.saturating_add(interval_ms).saturating_add(jitter_ms)
    }

    pub(crate) fn tick(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        while let Some((due_ms, stream_key)) = self.notify_due.first().copied() {
            if due_ms > self.now_ms {
                break;
            }
            self.notify_due.pop_first();
            self.notify(stream_key);
        }
    }

    fn notify(&mut self, stream_key: StreamKey) {
        let due_ms = self.notify_due_ms(stream_key);
        let Some(stream) = self.streams.get_mut(&stream_key) else { return };
        stream.notify_planned = !stream.notify.is_empty();
        if stream.notify_planned {
            self.notify_due.insert((due_ms, stream_key));
        }
        let mut wakes = Wakes::default();
        for key in &stream.notify {
            if let Some(watcher) = self.watchers.get_mut(key) {
                watcher.notify(self.revision, &mut wakes);
            }
        }
    }
}

impl Watcher {
    /// The lowest revision that progress of this watcher may speak of: not below what it has, and
    /// as in etcd not before its start revision.
    fn progress_from(&self) -> i64 {
        self.start.max(self.next - 1)
    }

    fn notify(&mut self, revision: i64, wakes: &mut Wakes) {
        let quiet = std::mem::replace(&mut self.quiet, true);
        if quiet && !self.behind && revision >= self.progress_from() {
            // A client that does not even read its events has no use for it: full means no.
            let _ = self.offer(Queued::Progress { watch_id: self.id, revision }, wakes);
        }
    }
}
