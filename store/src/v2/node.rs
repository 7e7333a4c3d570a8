//! Files and directories.

use std::sync::Arc;

use bytes::Bytes;
use rpds::RedBlackTreeMapSync;

use super::event::Seen;
use super::path::Path;
use super::refusal::{Reason, Refusal};

/// Bytes that a node takes beside its path and value, as the quota counts them.
const NODE_OVERHEAD_BYTES: u64 = 64;

/// Shared between the tree and whoever looks at an earlier state of it: a change copies what is on
/// its way only if somebody looks, and of a directory then no more than the path to one name.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The index that made it.
    pub(super) created: u64,
    /// The index that wrote it last.
    pub(super) modified: u64,
    /// `None`: it lives until it is deleted.
    pub(super) deadline_ns: Option<i64>,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    File(Bytes),
    Dir(Children),
}

/// By name, sorted. A copy costs nothing, and a change of one that is shared as many steps as the
/// tree is high: a listing of a large directory must not make the writes beside it slow, which all
/// other clients wait for.
pub(super) type Children = RedBlackTreeMapSync<Bytes, Arc<Node>>;

impl Node {
    pub(super) fn dir(index: u64, deadline_ns: Option<i64>) -> Node {
        let content = Content::Dir(Children::new_sync());
        Node { created: index, modified: index, deadline_ns, content }
    }

    pub(super) fn is_dir(&self) -> bool {
        matches!(self.content, Content::Dir(_))
    }

    pub(super) fn children(&self) -> Option<&Children> {
        match &self.content {
            Content::Dir(children) => Some(children),
            Content::File(_) => None,
        }
    }

    pub(super) fn children_mut(&mut self) -> Option<&mut Children> {
        match &mut self.content {
            Content::Dir(children) => Some(children),
            Content::File(_) => None,
        }
    }

    /// Empty for a directory.
    pub(super) fn value(&self) -> Bytes {
        match &self.content {
            Content::File(value) => value.clone(),
            Content::Dir(_) => Bytes::new(),
        }
    }

    /// What the quota counts for it.
    pub(super) fn bytes(&self, path: &[u8]) -> u64 {
        let value = match &self.content {
            Content::File(value) => value.len(),
            Content::Dir(_) => 0,
        };
        (path.len() + value) as u64 + NODE_OVERHEAD_BYTES
    }

    /// It alone, without what is in it.
    pub(super) fn seen(&self, path: &Path) -> Seen {
        Seen {
            path: path.shown(),
            value: (!self.is_dir()).then(|| self.value()),
            dir: self.is_dir(),
            deadline_ns: self.deadline_ns,
            modified: self.modified,
            created: self.created,
            nodes: Vec::new(),
        }
    }
}

/// The node at `path` below `root`, as the tree is at `index`.
pub(super) fn find<'a>(root: &'a Node, path: &Path, index: u64) -> Result<&'a Node, Refusal> {
    let mut node = root;
    let mut passed = 0;
    for (name, end) in path.steps() {
        let refuse = |reason, end| Refusal { reason, cause: path.upto(end), index };
        let children = node.children().ok_or_else(|| refuse(Reason::NotDir, passed))?;
        node = children.get(name).ok_or_else(|| refuse(Reason::KeyNotFound, end))?;
        passed = end;
    }
    Ok(node)
}
