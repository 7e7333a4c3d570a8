//! Reads, while the writer goes on.

use std::sync::Arc;

use super::event::Seen;
use super::history::{Interest, Past};
use super::node::{Node, find};
use super::path::Path;
use super::refusal::Refusal;
use crate::Reader;
use crate::v2::Counts;

/// The tree as it was at one index. Cheap to take; it stops nobody.
#[derive(Clone, Debug)]
pub struct View {
    root: Arc<Node>,
    index: u64,
}

impl View {
    /// The newest index then; 0: nothing was ever written.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Whether there is a directory at `path`.
    pub fn is_dir(&self, path: &Path) -> bool {
        find(&self.root, path, self.index).is_ok_and(Node::is_dir)
    }

    /// A file, or a directory with what is in it; with everything below it, if `recursive`.
    ///
    /// # Errors
    /// [`super::Reason::KeyNotFound`], [`super::Reason::NotDir`].
    pub fn get(&self, path: &Path, recursive: bool) -> Result<Seen, Refusal> {
        Ok(find(&self.root, path, self.index)?.listed(path, recursive))
    }
}

impl Reader {
    /// The tree of the v2 API as it is now.
    pub fn v2(&self) -> View {
        let tree = &self.shared.state.read().v2;
        View { root: Arc::clone(&tree.root), index: tree.index }
    }

    /// The first change from index `from` on that somebody is interested in, if there was one.
    ///
    /// # Errors
    /// [`super::Reason::HistoryCleared`].
    pub fn v2_past(&self, interest: &Interest, from: u64) -> Result<Past, Refusal> {
        let tree = &self.shared.state.read().v2;
        tree.history.look(interest, from, tree.index)
    }

    /// When the first node of the v2 API expires, in nanoseconds since 1970.
    pub fn v2_next_deadline_ns(&self) -> Option<i64> {
        self.shared.state.read().v2.next_deadline_ns()
    }

    /// What this replica was asked of the v2 API since it was opened.
    pub fn v2_counts(&self) -> Counts {
        self.shared.v2_counters.read()
    }

    /// Counts a read, which is asked of a [`View`].
    pub fn count_v2_get(&self, succeeded: bool) {
        self.shared.v2_counters.got(succeeded);
    }
}
