//! What a read shows, node after node, for whoever writes it down as it goes: a listing may be much
//! larger than what its reader takes at a time.

use std::ops::Bound;

use bytes::Bytes;

use super::event::Seen;
use super::node::{Children, Node};
use super::path::Path;

/// One step of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A node by itself. If it `opens`, what is in it follows, and an [`Step::End`].
    Node { seen: Seen, opens: bool },
    /// The directory that opened last has nothing more in it.
    End,
}

/// A file, or a directory with what is in it; with everything below it, if that was asked for.
/// Sorted by name; names that begin with `_` are left out. What is written meanwhile does not show.
#[derive(Debug)]
pub struct Listing {
    first: Option<(Path, Node)>,
    open: Vec<Level>,
    recursive: bool,
}

#[derive(Debug)]
struct Level {
    path: Path,
    children: Children,
    last: Option<Bytes>,
}

impl Listing {
    pub(super) fn new(path: Path, node: Node, recursive: bool) -> Listing {
        Listing { first: Some((path, node)), open: Vec::new(), recursive }
    }

    fn enter(&mut self, path: Path, node: &Node) -> Step {
        let seen = node.seen(&path);
        let is_listed = self.open.is_empty() || self.recursive;
        let children = node.children().filter(|children| is_listed && shows_some(children));
        let opens = children.is_some();
        if let Some(children) = children {
            self.open.push(Level { path, children: children.clone(), last: None });
        }
        Step::Node { seen, opens }
    }
}

fn shows_some(children: &Children) -> bool {
    children.keys().any(|name| is_shown(name))
}

fn is_shown(name: &[u8]) -> bool {
    name[0] != b'_'
}

impl Level {
    fn next(&mut self) -> Option<(Path, Node)> {
        let after = self.last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.children.range::<[u8], _>((after, Bound::Unbounded));
        let (name, node) = rest.find(|(name, _)| is_shown(name))?;
        let found = (self.path.child(name), Node::clone(node));
        self.last = Some(name.clone());
        Some(found)
    }
}

impl Iterator for Listing {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some((path, node)) = self.first.take() {
            return Some(self.enter(path, &node));
        }
        match self.open.last_mut()?.next() {
            Some((path, node)) => Some(self.enter(path, &node)),
            None => {
                self.open.pop();
                Some(Step::End)
            }
        }
    }
}
