//! Reads, while the writer goes on.

use std::sync::Arc;

use super::event::Seen;
use super::history::{Interest, Past};
use super::listing::{Listing, Step};
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

    /// A file, or a directory with what is in it; with everything below it, if `recursive`. Step
    /// by step, as the view shows it, whatever becomes of the tree meanwhile.
    ///
    /// # Errors
    /// [`super::Reason::KeyNotFound`], [`super::Reason::NotDir`].
    pub fn list(&self, path: &Path, recursive: bool) -> Result<Listing, Refusal> {
        let node = find(&self.root, path, self.index)?.clone();
        Ok(Listing::new(path.clone(), node, recursive))
    }

    /// The same as one, for who knows it to be small.
    ///
    /// # Errors
    /// As [`View::list`].
    pub fn get(&self, path: &Path, recursive: bool) -> Result<Seen, Refusal> {
        let mut open: Vec<Seen> = Vec::new();
        let mut whole = Seen::default();
        for step in self.list(path, recursive)? {
            let done = match step {
                Step::Node { seen, opens: true } => {
                    open.push(seen);
                    continue;
                }
                Step::Node { seen, opens: false } => seen,
                Step::End => open.pop().expect("what ends has opened"),
            };
            match open.last_mut() {
                Some(dir) => dir.nodes.push(done),
                None => whole = done,
            }
        }
        Ok(whole)
    }
}

#[cfg(test)]
impl View {
    /// Of how many files in a directory there is a second owner.
    pub(crate) fn children_held_twice(&self, dir: &Path) -> usize {
        let children = find(&self.root, dir, self.index).unwrap().children().unwrap();
        children.values().filter(|child| Arc::strong_count(child) > 1).count()
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
