//! The tree and all that belongs to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::event::Event;
use super::history::History;
use super::node::{Children, Content, Node, find};
use super::path::Path;
use super::records;
use super::refusal::Refusal;

/// A change for the engine: a key and its new record, or that there is none.
pub(super) type Change = (Bytes, Option<Bytes>);

/// Everything that v2 writes have made.
///
/// Invariant: `deadlines` has exactly the nodes that have one, and `bytes` is what
/// [`Node::bytes`] gives for all of them together.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(super) root: Arc<Node>,
    /// Of the newest change; 0: there was none.
    pub(super) index: u64,
    pub(super) history: History,
    /// Sorted as they come due.
    pub(super) deadlines: BTreeSet<(i64, Path)>,
    pub(super) bytes: u64,
    pub(super) nodes: u64,
    pub(super) changes: Vec<Change>,
}

/// A tree as it was, to be written down at leisure.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    pub(super) root: Arc<Node>,
    pub(super) index: u64,
    pub(super) history: History,
}

impl Default for Tree {
    fn default() -> Self {
        Tree {
            root: Arc::new(Node::dir(0, None)),
            index: 0,
            history: History::default(),
            deadlines: BTreeSet::new(),
            bytes: 0,
            nodes: 0,
            changes: Vec::new(),
        }
    }
}

impl Tree {
    /// What the quota counts.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the first node expires, in nanoseconds since 1970.
    pub(crate) fn next_deadline_ns(&self) -> Option<i64> {
        self.deadlines.first().map(|(deadline_ns, _)| *deadline_ns)
    }

    pub(crate) fn freeze(&self) -> Frozen {
        let Tree { root, index, history, .. } = self;
        Frozen { root: Arc::clone(root), index: *index, history: history.clone() }
    }

    /// What the last write changed, for the engine.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn find(&self, path: &Path) -> Result<&Node, Refusal> {
        find(&self.root, path, self.index)
    }

    /// Puts a node where there is none. Its directory exists.
    pub(super) fn insert(&mut self, path: &Path, node: Node) {
        let (dir, name) = path.split().expect("the root is always there");
        self.count(path, &node);
        let key = records::node_key(path);
        self.changes.push((key, Some(records::encode_node(&node))));
        let name = Bytes::copy_from_slice(name);
        let children = self.children_mut(&dir);
        assert!(!children.contains_key(&name), "a node is taken out before another is put there");
        children.insert_mut(name, Arc::new(node));
    }

    /// Takes a node out with everything below it, and returns it alone.
    pub(super) fn remove(&mut self, path: &Path) -> Arc<Node> {
        let (dir, name) = path.split().expect("the root is never taken out");
        let children = self.children_mut(&dir);
        let node = Arc::clone(children.get(name).expect("it was found before"));
        children.remove_mut(name);
        self.forget(path, &node);
        node
    }

    /// Takes it in, as far as it is more than a place in the tree.
    pub(super) fn count(&mut self, path: &Path, node: &Node) {
        self.bytes += node.bytes(path.as_bytes());
        self.nodes += 1;
        if let Some(deadline_ns) = node.deadline_ns {
            self.deadlines.insert((deadline_ns, path.clone()));
        }
    }

    fn forget(&mut self, path: &Path, node: &Node) {
        self.bytes -= node.bytes(path.as_bytes());
        self.nodes -= 1;
        if let Some(deadline_ns) = node.deadline_ns {
            self.deadlines.remove(&(deadline_ns, path.clone()));
        }
        self.changes.push((records::node_key(path), None));
        for (name, child) in node.children().into_iter().flatten() {
            self.forget(&path.child(name), child);
        }
    }

    /// Changes what a node is, but for what is in it.
    pub(super) fn change(&mut self, path: &Path, change: impl FnOnce(&mut Node)) {
        let node = self.node_mut(path);
        let (bytes, deadline_ns) = (node.bytes(path.as_bytes()), node.deadline_ns);
        change(node);
        let record = records::encode_node(node);
        let (bytes_now, deadline_now_ns) = (node.bytes(path.as_bytes()), node.deadline_ns);
        self.bytes = self.bytes - bytes + bytes_now;
        if let Some(deadline_ns) = deadline_ns {
            self.deadlines.remove(&(deadline_ns, path.clone()));
        }
        if let Some(deadline_ns) = deadline_now_ns {
            self.deadlines.insert((deadline_ns, path.clone()));
        }
        self.changes.push((records::node_key(path), Some(record)));
    }

    fn node_mut(&mut self, path: &Path) -> &mut Node {
        let mut node = Arc::make_mut(&mut self.root);
        for (name, _) in path.steps() {
            let child = node.children_mut().and_then(|children| children.get_mut(name));
            node = Arc::make_mut(child.expect("it was found before"));
        }
        node
    }

    fn children_mut(&mut self, dir: &Path) -> &mut Children {
        self.node_mut(dir).children_mut().expect("it was found to be a directory before")
    }

    /// The change is complete: it has an index and a place in the history.
    pub(super) fn end(&mut self, event: Event) -> Arc<Event> {
        let event = Arc::new(event);
        self.index = event.index();
        for cleared in self.history.push(Arc::clone(&event)) {
            self.changes.push((records::event_key(cleared), None));
        }
        let record = records::encode_event(&event);
        self.changes.push((records::event_key(self.index), Some(record)));
        let index = Bytes::copy_from_slice(&self.index.to_be_bytes());
        self.changes.push((Bytes::from_static(records::INDEX_KEY), Some(index)));
        event
    }
}

impl Default for Frozen {
    fn default() -> Self {
        Tree::default().freeze()
    }
}

impl Frozen {
    /// All records of it: the history, the index, and directories before what is in them.
    pub(crate) fn records<E>(
        &self,
        visit: &mut dyn FnMut(Bytes, Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        for event in self.history.events() {
            visit(records::event_key(event.index()), records::encode_event(event))?;
        }
        if self.index != 0 {
            let index = Bytes::copy_from_slice(&self.index.to_be_bytes());
            visit(Bytes::from_static(records::INDEX_KEY), index)?;
        }
        each_below(&Path::clean(b"/"), &self.root, visit)
    }
}

/// Directories before what is in them.
fn each_below<E>(
    path: &Path,
    node: &Node,
    visit: &mut dyn FnMut(Bytes, Bytes) -> Result<(), E>,
) -> Result<(), E> {
    let Content::Dir(children) = &node.content else { return Ok(()) };
    for (name, child) in children {
        let path = path.child(name);
        visit(records::node_key(&path), records::encode_node(child))?;
        each_below(&path, child, visit)?;
    }
    Ok(())
}
