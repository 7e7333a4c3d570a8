//! The end of watches: cancelled, compacted away, or gone with their stream.

use api::berthpb::EncodedWatchResponse;

use super::create::{answer, ended_by_compaction};
use super::{Core, StreamKey, WatcherKey};

impl Core {
    pub(crate) fn cancel(&mut self, stream_key: StreamKey, id: i64) {
        let current = self.source.get().revision();
        let Some(stream) = self.streams.get_mut(&stream_key) else { return };
        let Some(watcher) = stream.watches.by_id.remove(&id) else { return };
        stream.sink.push(EncodedWatchResponse { canceled: true, ..answer(current, id) });
        if let Some(key) = watcher {
            self.remove(key);
            self.settle_progress();
        }
    }

    /// Tells a watcher that what it lacks is gone.
    pub(super) fn end_compacted(&mut self, key: WatcherKey, compact_revision: i64) {
        let Some(watcher) = self.remove(key) else { return };
        if let Some(stream) = self.streams.get_mut(&watcher.0) {
            stream.watches.by_id.insert(watcher.1, None);
            stream.sink.push(ended_by_compaction(watcher.1, compact_revision));
        }
    }

    /// Forgets up to `count_max` watchers of a stream, then the stream. `false`: call again; the
    /// lock should be free for others in between.
    pub(crate) fn drop_stream(&mut self, stream_key: StreamKey, count_max: usize) -> bool {
        for _ in 0..count_max {
            let Some(stream) = self.streams.get_mut(&stream_key) else { return true };
            let Some((_, watcher)) = stream.watches.by_id.pop_first() else {
                self.streams.remove(&stream_key);
                self.asked.remove(&stream_key);
                return true;
            };
            if let Some(key) = watcher {
                self.remove(key);
            }
        }
        false
    }

    /// Takes a watcher out of everything but its stream's ids. Answers its stream and id.
    fn remove(&mut self, key: WatcherKey) -> Option<(StreamKey, i64)> {
        let watcher = self.watchers.remove(&key)?;
        if watcher.behind {
            self.cursors.remove(&(watcher.next, key));
        } else {
            self.index.remove(&watcher.target, key);
        }
        if let Some(stream) = self.streams.get_mut(&watcher.stream) {
            stream.behind.remove(&key);
            stream.notify.remove(&key);
        }
        Some((watcher.stream, watcher.id))
    }
}
