//! A tree from histories that come sorted: full leaves, no searching.

use super::Index;
use super::history::History;
use super::node::{Branch, Leaf, Node, Slot, Summary, WIDTH_MAX};

/// Leaves room in each node for what comes later.
const WIDTH_BUILT: usize = WIDTH_MAX * 7 / 8;

/// Takes keys in ascending order.
#[derive(Default)]
pub(crate) struct Builder {
    leaf: Vec<Slot>,
    leaves: Vec<Part>,
}

/// A finished node and its smallest key.
struct Part {
    key: Box<[u8]>,
    node: Node,
    summary: Summary,
}

impl Builder {
    pub(crate) fn push(&mut self, key: Box<[u8]>, history: History) {
        if let Some(last) = self.leaf.last() {
            assert!(last.key < key, "keys are built in ascending order");
        }
        if self.leaf.len() == WIDTH_BUILT {
            self.finish_leaf();
        }
        if self.leaf.is_empty() {
            self.leaf.reserve_exact(WIDTH_MAX);
        }
        self.leaf.push(Slot { key, history });
    }

    pub(crate) fn finish(mut self) -> Index {
        self.finish_leaf();
        let mut level = self.leaves;
        while level.len() > 1 {
            level = raise(level);
        }
        match level.pop() {
            Some(root) => Index { root: root.node, summary: root.summary },
            None => Index::default(),
        }
    }

    fn finish_leaf(&mut self) {
        if let Some(first) = self.leaf.first() {
            let key = first.key.clone();
            let node = Node::Leaf(Leaf::new(std::mem::take(&mut self.leaf)));
            self.leaves.push(Part { key, summary: node.summary(), node });
        }
    }
}

/// One level of branches over `parts`.
fn raise(parts: Vec<Part>) -> Vec<Part> {
    let branches = parts.len().div_ceil(WIDTH_BUILT);
    let width = parts.len().div_ceil(branches);
    let mut raised = Vec::with_capacity(branches);
    let mut parts = parts.into_iter().peekable();
    while let Some(first) = parts.peek() {
        let key = first.key.clone();
        let mut branch = Branch::default();
        for part in parts.by_ref().take(width) {
            if !branch.children.is_empty() {
                branch.separators.push(part.key);
            }
            branch.children.push(part.node);
            branch.summaries.push(part.summary);
        }
        branch.separators_changed();
        let node = Node::Branch(Box::new(branch));
        raised.push(Part { key, summary: node.summary(), node });
    }
    raised
}
