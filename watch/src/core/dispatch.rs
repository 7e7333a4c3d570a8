//! New batches go to the synced watchers.

use std::sync::Arc;

use super::{Core, WatcherKey};
use crate::event::Batch;
use crate::sink::Wakes;

/// Pairs of watcher and event that one step may hold in memory (16 bytes each).
pub(super) const PAIRS_MAX: usize = 1 << 20;

/// Which watcher gets which event of a batch, by position.
pub(super) type Pairs = Vec<(WatcherKey, usize)>;

impl Core {
    /// Delivers one batch. Older ones are ignored, and a gap before it is read from the source.
    pub(crate) fn dispatch(&mut self, batch: &Arc<Batch>) {
        if batch.revision <= self.revision {
            return;
        }
        if batch.revision > self.revision + 1 {
            self.jump(batch.revision - 1);
        }
        let pairs = self.pairs(batch);
        let revision = batch.revision;
        self.ring.push(Arc::clone(batch));
        let Some(pairs) = pairs else {
            // So many deliveries at once are left to the slices of catching up.
            self.fall_behind_all(revision);
            return;
        };
        let mut wakes = Wakes::default();
        for of_one in pairs.chunk_by(|a, b| a.0 == b.0) {
            let key = of_one[0].0;
            let Some(watcher) = self.watchers.get_mut(&key) else { continue };
            let events = of_one.iter().map(|(_, event)| &batch.events[*event]);
            if !watcher.deliver(events, revision, &mut wakes) {
                self.fall_behind(key, revision);
            }
        }
        self.revision = revision;
    }

    /// Sorted by watcher, then event. `None`: too many.
    fn pairs(&self, batch: &Batch) -> Option<Pairs> {
        let mut pairs = Pairs::new();
        for (position, event) in batch.events.iter().enumerate() {
            self.index.visit(event.key(), &mut |watcher| pairs.push((watcher, position)));
            if pairs.len() > PAIRS_MAX && batch.events.len() > 1 {
                return None;
            }
        }
        pairs.sort_unstable();
        Some(pairs)
    }

    /// Everything up to `revision` happened without being dispatched: whoever lacks it catches up.
    pub(crate) fn jump(&mut self, revision: i64) {
        if revision > self.revision {
            self.ring.restart(revision + 1);
            self.fall_behind_all(revision);
        }
    }

    /// Moves on to `revision`, and leaves the synced watchers where they are.
    fn fall_behind_all(&mut self, revision: i64) {
        let first_lacking = self.revision + 1;
        self.revision = revision;
        let synced = self.watchers.iter().filter(|(_, watcher)| !watcher.behind);
        let mut lacking: Vec<WatcherKey> =
            synced.filter(|(_, watcher)| watcher.next <= revision).map(|(key, _)| *key).collect();
        lacking.sort_unstable();
        for key in lacking {
            let next = self.watchers.get(&key).map_or(0, |watcher| watcher.next);
            self.fall_behind(key, next.max(first_lacking));
        }
    }
}
