//! All keys in order, each with its retained versions; values are elsewhere.
//!
//! A B+tree of our own, because every branch knows how many live keys and how many versions each
//! child holds: counting a range costs the tree's height, and compaction passes by subtrees that
//! have nothing to give. It must never forget a version on its own, nor look at a value.
//!
//! Start at [`Index`]; `history.rs` is one key, `node.rs` the tree's nodes, `heads.rs` how they are
//! searched, `build.rs` makes a tree of what is already sorted, `compact.rs` forgets.

mod build;
mod compact;
mod heads;
mod history;
mod node;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

pub(crate) use self::build::Builder;
pub(crate) use self::history::History;
use self::node::{Node, Summary};
use crate::Entry;
use crate::key_range::KeyRange;

/// The tree. Invariant: keys ascend, and every summary is the sum of what lies below it.
#[derive(Default)]
pub(crate) struct Index {
    root: Node,
    summary: Summary,
}

impl Index {
    /// The history of `key`, dead or alive.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&History> {
        self.root.get(key)
    }

    /// Keys that exist now.
    pub(crate) fn live(&self) -> usize {
        self.summary.live
    }

    /// Versions retained, tombstones included.
    #[cfg(test)]
    pub(crate) fn versions(&self) -> usize {
        self.summary.versions
    }

    /// Appends to the history of `key` the version that `make` derives from it. A new key has an
    /// empty history.
    pub(crate) fn push(&mut self, key: &[u8], make: impl FnOnce(&History) -> Entry) {
        let grown = self.root.push(key, make);
        self.summary.add(grown.by);
        if let Some(right) = grown.split {
            self.root.grow(right);
        }
    }

    /// Keys of `range` that exist now.
    pub(crate) fn count(&self, range: &KeyRange) -> usize {
        let below_end = match range.end() {
            Some(end) => self.root.live_below(end),
            None => self.summary.live,
        };
        below_end.saturating_sub(self.root.live_below(range.start()))
    }

    /// Visits the keys of `range` in order, dead ones too, until the visitor breaks.
    pub(crate) fn visit(
        &self,
        range: &KeyRange,
        mut visitor: impl FnMut(&[u8], &History) -> ControlFlow<()>,
    ) {
        if !range.is_empty() {
            let _ = self.root.visit(range, &mut visitor);
        }
    }
}
