//! Who wants a key: exact keys by hash, ranges by tree.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use crate::core::WatcherKey;
use crate::interval::Intervals;
use crate::target::Target;

/// Each watcher is in here at most once. The map is never iterated: its order means nothing.
#[derive(Default)]
pub(crate) struct Index {
    keys: HashMap<Bytes, BTreeSet<WatcherKey>>,
    ranges: Intervals,
}

impl Index {
    pub(crate) fn insert(&mut self, target: &Target, watcher: WatcherKey) {
        match target {
            Target::Key(key) => {
                self.keys.entry(key.clone()).or_default().insert(watcher);
            }
            Target::Range(range) => self.ranges.insert(range, watcher),
        }
    }

    pub(crate) fn remove(&mut self, target: &Target, watcher: WatcherKey) {
        match target {
            Target::Key(key) => {
                let Some(watchers) = self.keys.get_mut(key) else { return };
                watchers.remove(&watcher);
                if watchers.is_empty() {
                    self.keys.remove(key);
                }
            }
            Target::Range(range) => self.ranges.remove(range, watcher),
        }
    }

    /// Calls `found` for every watcher that wants `key`, each once.
    pub(crate) fn visit(&self, key: &[u8], found: &mut dyn FnMut(WatcherKey)) {
        if let Some(watchers) = self.keys.get(key) {
            watchers.iter().for_each(|watcher| found(*watcher));
        }
        self.ranges.visit(key, found);
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.keys.contains_key(key) || self.ranges.contains(key)
    }
}
