//! Forgetting old versions, a few keys at a time.

#[cfg(test)]
use super::History;
use super::Index;
#[cfg(test)]
use super::node::Summary;
use super::node::{Branch, Leaf, Node, WIDTH_MAX, WIDTH_MIN};
use crate::Entry;

/// One step of a walk over all keys.
pub(super) struct Step<'a> {
    /// Where it begins.
    from: &'a [u8],
    revision: i64,
    /// How many more keys it may look at.
    budget: usize,
    removed: &'a mut dyn FnMut(&[u8], Entry),
}

impl Index {
    /// Compacts at `revision` the keys from `from` on, looking at about `keys_max` of them, and
    /// reports each version that it forgets. Returns where to go on, or `None` after the last key.
    ///
    /// Subtrees in which every key has just one version, and is alive, cost nothing.
    pub(crate) fn compact(
        &mut self,
        from: &[u8],
        revision: i64,
        keys_max: usize,
        removed: &mut dyn FnMut(&[u8], Entry),
    ) -> Option<Box<[u8]>> {
        let mut step = Step { from, revision, budget: keys_max.max(1), removed };
        let next = step.node(&mut self.root);
        self.summary = self.root.summary();
        while let Node::Branch(branch) = &mut self.root {
            match branch.children.len() {
                0 => self.root = Node::default(),
                1 => {
                    let only = branch.children.pop().expect("it has one child");
                    self.root = only;
                }
                _ => break,
            }
        }
        next
    }
}

impl Step<'_> {
    fn node(&mut self, node: &mut Node) -> Option<Box<[u8]>> {
        match node {
            Node::Leaf(leaf) => self.leaf(leaf),
            Node::Branch(branch) => self.branch(branch),
        }
    }

    fn leaf(&mut self, leaf: &mut Leaf) -> Option<Box<[u8]>> {
        let first = leaf.search(self.from).unwrap_or_else(|place| place);
        let mut next = None;
        for slot in &mut leaf.slots[first..] {
            if self.budget == 0 {
                next = Some(slot.key.clone());
                break;
            }
            self.budget -= 1;
            if slot.history.is_compactable(self.revision) {
                slot.history.compact(self.revision, |entry| (self.removed)(&slot.key, entry));
            }
        }
        let keys = leaf.slots.len();
        leaf.slots.retain(|slot| slot.history.len() > 0);
        if leaf.slots.len() < keys {
            leaf.keys_changed();
        }
        next
    }

    fn branch(&mut self, branch: &mut Branch) -> Option<Box<[u8]>> {
        let mut place = branch.child_of(self.from);
        let mut next = None;
        while place < branch.children.len() && next.is_none() {
            let summary = branch.summaries[place];
            if summary.live == summary.versions {
                place += 1;
                continue;
            }
            next = self.node(&mut branch.children[place]);
            if next.is_none() && self.budget == 0 {
                // If this was the last child, the branch above knows what comes behind.
                next = branch.separators.get(place).cloned();
            }
            branch.summaries[place] = branch.children[place].summary();
            place = branch.tidy(place);
        }
        next
    }
}

impl Branch {
    /// Drops child `place` if it is empty, joins it with a neighbour if it is narrow. Returns the
    /// first child behind it.
    fn tidy(&mut self, place: usize) -> usize {
        let width = self.children[place].width();
        if width == 0 {
            self.remove(place);
            return place;
        }
        if width <= WIDTH_MIN {
            if place > 0 && self.fit_together(place - 1) {
                self.join(place - 1);
                return place;
            }
            if place + 1 < self.children.len() && self.fit_together(place) {
                // The neighbour has not been looked at yet: come back to the joined node.
                self.join(place);
                return place;
            }
        }
        place + 1
    }

    fn remove(&mut self, place: usize) {
        self.children.remove(place);
        self.summaries.remove(place);
        if !self.separators.is_empty() {
            self.separators.remove(place.saturating_sub(1));
            self.separators_changed();
        }
    }

    fn fit_together(&self, left: usize) -> bool {
        self.children[left].width() + self.children[left + 1].width() <= WIDTH_MAX
    }

    /// Appends child `left + 1` to child `left`.
    fn join(&mut self, left: usize) {
        let right = self.children.remove(left + 1);
        let summary = self.summaries.remove(left + 1);
        let separator = self.separators.remove(left);
        self.separators_changed();
        self.summaries[left] += summary;
        match (&mut self.children[left], right) {
            (Node::Leaf(leaf), Node::Leaf(more)) => {
                leaf.slots.extend(more.slots);
                leaf.keys_changed();
            }
            (Node::Branch(branch), Node::Branch(more)) => branch.append(separator, *more),
            _ => unreachable!("siblings have one height"),
        }
    }

    fn append(&mut self, separator: Box<[u8]>, right: Branch) {
        self.separators.push(separator);
        self.separators.extend(right.separators);
        self.children.extend(right.children);
        self.summaries.extend(right.summaries);
        self.separators_changed();
    }
}

#[cfg(test)]
impl Index {
    /// Asserts the tree's invariants and returns its content.
    pub(super) fn checked(&self) -> Vec<(Box<[u8]>, History)> {
        let mut content = Vec::new();
        let mut depths = Vec::new();
        check(&self.root, 0, &mut depths, &mut content);
        assert!(depths.iter().all(|depth| *depth == depths[0]), "all leaves have one depth");
        assert!(content.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(self.summary, self.root.summary());
        content
    }
}

#[cfg(test)]
fn check(
    node: &Node,
    depth: usize,
    depths: &mut Vec<usize>,
    content: &mut Vec<(Box<[u8]>, History)>,
) -> Summary {
    match node {
        Node::Leaf(leaf) => {
            assert!(leaf.slots.len() <= WIDTH_MAX);
            depths.push(depth);
            content.extend(leaf.slots.iter().map(|slot| (slot.key.clone(), slot.history.clone())));
            node.summary()
        }
        Node::Branch(branch) => {
            assert!((1..=WIDTH_MAX).contains(&branch.children.len()));
            assert_eq!(branch.separators.len() + 1, branch.children.len());
            assert_eq!(branch.summaries.len(), branch.children.len());
            for (place, child) in branch.children.iter().enumerate() {
                let start = content.len();
                let summary = check(child, depth + 1, depths, content);
                assert_eq!(summary, branch.summaries[place]);
                let keys = &content[start..];
                assert!(!keys.is_empty());
                if place > 0 {
                    assert!(keys.iter().all(|(key, _)| *key >= branch.separators[place - 1]));
                }
                if let Some(separator) = branch.separators.get(place) {
                    assert!(keys.iter().all(|(key, _)| key < separator));
                }
            }
            node.summary()
        }
    }
}

#[cfg(test)]
impl Index {
    pub(super) fn leaves(&self) -> usize {
        fn leaves(node: &Node) -> usize {
            match node {
                Node::Leaf(_) => 1,
                Node::Branch(branch) => branch.children.iter().map(leaves).sum(),
            }
        }
        leaves(&self.root)
    }
}
