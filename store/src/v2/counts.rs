//! What this replica was asked of the v2 API. For operators; nothing depends on it.

use std::sync::atomic::{AtomicU64, Ordering};

use api::berthpb::v2_write::Action;

/// How often something succeeded, and how often it was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub success: u64,
    pub fail: u64,
}

/// Since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub gets: Tally,
    pub sets: Tally,
    pub creates: Tally,
    pub updates: Tally,
    pub swaps: Tally,
    pub deletes: Tally,
    pub compared_deletes: Tally,
    /// Nodes that expired, not counting what was in a directory that did.
    pub expired: u64,
}

#[derive(Default)]
struct Counter {
    success: AtomicU64,
    fail: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Counters {
    gets: Counter,
    sets: Counter,
    creates: Counter,
    updates: Counter,
    swaps: Counter,
    deletes: Counter,
    compared_deletes: Counter,
    expired: AtomicU64,
}

impl Counter {
    fn add(&self, succeeded: bool) {
        let counter = if succeeded { &self.success } else { &self.fail };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> Tally {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally { success: of(&self.success), fail: of(&self.fail) }
    }
}

impl Counters {
    pub(crate) fn got(&self, succeeded: bool) {
        self.gets.add(succeeded);
    }

    pub(crate) fn wrote(&self, action: Action, succeeded: bool) {
        let counter = match action {
            Action::Set => &self.sets,
            Action::Create | Action::CreateInOrder => &self.creates,
            Action::Update => &self.updates,
            Action::CompareAndSwap => &self.swaps,
            Action::Delete => &self.deletes,
            Action::CompareAndDelete => &self.compared_deletes,
            Action::Unknown => return,
        };
        counter.add(succeeded);
    }

    pub(crate) fn expired(&self, count: u64) {
        self.expired.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counts {
        Counts {
            gets: self.gets.read(),
            sets: self.sets.read(),
            creates: self.creates.read(),
            updates: self.updates.read(),
            swaps: self.swaps.read(),
            deletes: self.deletes.read(),
            compared_deletes: self.compared_deletes.read(),
            expired: self.expired.load(Ordering::Relaxed),
        }
    }
}
