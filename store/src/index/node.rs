//! Leaves and branches.

use std::ops::{AddAssign, ControlFlow, SubAssign};

use super::heads::Heads;
use super::history::History;
use crate::Entry;
use crate::key_range::KeyRange;

/// Most keys in a leaf, most children of a branch.
pub(super) const WIDTH_MAX: usize = 64;

/// A node this narrow is joined with a neighbour if both fit into one.
pub(super) const WIDTH_MIN: usize = WIDTH_MAX / 4;

#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Keys that exist now.
    pub(super) live: usize,
    /// Versions, tombstones included.
    pub(super) versions: usize,
}

impl Summary {
    pub(super) fn of(history: &History) -> Self {
        Summary { live: usize::from(history.is_live()), versions: history.len() }
    }

    pub(super) fn add(&mut self, by: Growth) {
        self.live = self.live.checked_add_signed(by.live).expect("counts match the tree");
        self.versions += by.versions;
    }
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.live += other.live;
        self.versions += other.versions;
    }
}

impl SubAssign for Summary {
    fn sub_assign(&mut self, other: Self) {
        self.live -= other.live;
        self.versions -= other.versions;
    }
}

/// How one more version changed a summary.
#[derive(Copy, Clone)]
pub(super) struct Growth {
    live: isize,
    versions: usize,
}

/// The outcome of a push below some node.
pub(super) struct Grown {
    pub(super) by: Growth,
    /// The node was full: its right half, to be placed beside it.
    pub(super) split: Option<Split>,
}

pub(super) struct Split {
    /// The smallest key of `node`.
    pub(super) key: Box<[u8]>,
    pub(super) node: Node,
}

#[derive(Debug)]
pub(super) enum Node {
    Leaf(Leaf),
    Branch(Box<Branch>),
}

impl Default for Node {
    fn default() -> Self {
        Node::Leaf(Leaf::default())
    }
}

#[derive(Debug, Default)]
pub(super) struct Leaf {
    heads: Heads,
    pub(super) slots: Vec<Slot>,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: Box<[u8]>,
    pub(super) history: History,
}

/// Invariant: `separators[i]` is above every key of child `i` and not above any of child `i + 1`.
#[derive(Debug, Default)]
pub(super) struct Branch {
    heads: Heads,
    pub(super) separators: Vec<Box<[u8]>>,
    pub(super) children: Vec<Node>,
    pub(super) summaries: Vec<Summary>,
}

impl Node {
    pub(super) fn get(&self, key: &[u8]) -> Option<&History> {
        let mut node = self;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let place = leaf.search(key).ok()?;
                    return Some(&leaf.slots[place].history);
                }
                Node::Branch(branch) => node = &branch.children[branch.child_of(key)],
            }
        }
    }

    pub(super) fn width(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.slots.len(),
            Node::Branch(branch) => branch.children.len(),
        }
    }

    pub(super) fn summary(&self) -> Summary {
        let mut sum = Summary::default();
        match self {
            Node::Leaf(leaf) => {
                leaf.slots.iter().for_each(|slot| sum += Summary::of(&slot.history));
            }
            Node::Branch(branch) => branch.summaries.iter().for_each(|child| sum += *child),
        }
        sum
    }

    /// Live keys below `key`.
    pub(super) fn live_below(&self, key: &[u8]) -> usize {
        let mut count = 0;
        let mut node = self;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let place = leaf.search(key).unwrap_or_else(|place| place);
                    let before = leaf.slots[..place].iter();
                    let live = before.filter(|slot| slot.history.is_live());
                    return count + live.count();
                }
                Node::Branch(branch) => {
                    let child = branch.child_of(key);
                    let before = branch.summaries[..child].iter();
                    count += before.map(|summary| summary.live).sum::<usize>();
                    node = &branch.children[child];
                }
            }
        }
    }

    pub(super) fn visit(
        &self,
        range: &KeyRange,
        visitor: &mut impl FnMut(&[u8], &History) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Node::Leaf(leaf) => {
                let first = leaf.search(range.start()).unwrap_or_else(|place| place);
                for slot in &leaf.slots[first..] {
                    if range.end().is_some_and(|end| *slot.key >= *end) {
                        return ControlFlow::Break(());
                    }
                    visitor(&slot.key, &slot.history)?;
                }
            }
            Node::Branch(branch) => {
                for child in &branch.children[branch.child_of(range.start())..] {
                    child.visit(range, visitor)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    pub(super) fn push(&mut self, key: &[u8], make: impl FnOnce(&History) -> Entry) -> Grown {
        match self {
            Node::Leaf(leaf) => leaf.push(key, make),
            Node::Branch(branch) => branch.push(key, make),
        }
    }

    /// A root that was split becomes a branch over its halves.
    pub(super) fn grow(&mut self, right: Split) {
        let left = std::mem::take(self);
        let summaries = vec![left.summary(), right.node.summary()];
        let children = vec![left, right.node];
        *self = Node::Branch(Box::new(Branch::new(vec![right.key], children, summaries)));
    }
}

impl Branch {
    pub(super) fn new(
        separators: Vec<Box<[u8]>>,
        children: Vec<Node>,
        summaries: Vec<Summary>,
    ) -> Branch {
        let mut branch = Branch { heads: Heads::default(), separators, children, summaries };
        branch.separators_changed();
        branch
    }

    /// To be called after any change of `separators`.
    pub(super) fn separators_changed(&mut self) {
        self.heads = Heads::of(self.separators.iter().map(|separator| &**separator));
    }

    /// Where `key` is, or would be.
    pub(super) fn child_of(&self, key: &[u8]) -> usize {
        match self.heads.search(key, |place| &self.separators[place]) {
            Ok(separator) => separator + 1,
            Err(separator) => separator,
        }
    }

    fn push(&mut self, key: &[u8], make: impl FnOnce(&History) -> Entry) -> Grown {
        let place = self.child_of(key);
        let grown = self.children[place].push(key, make);
        self.summaries[place].add(grown.by);
        let split = grown.split.and_then(|right| self.insert_behind(place, right));
        Grown { by: grown.by, split }
    }

    /// Places the right half of child `place` beside it; splits if that is one too many.
    fn insert_behind(&mut self, place: usize, right: Split) -> Option<Split> {
        let summary = right.node.summary();
        self.summaries[place] -= summary;
        self.separators.insert(place, right.key);
        self.children.insert(place + 1, right.node);
        self.summaries.insert(place + 1, summary);
        self.separators_changed();
        (self.children.len() > WIDTH_MAX).then(|| self.split())
    }

    fn split(&mut self) -> Split {
        let middle = self.children.len() / 2;
        let right = Branch::new(
            self.separators.split_off(middle),
            self.children.split_off(middle),
            self.summaries.split_off(middle),
        );
        let key = self.separators.pop().expect("the left half has at least two children");
        self.separators_changed();
        Split { key, node: Node::Branch(Box::new(right)) }
    }
}

impl Leaf {
    pub(super) fn new(slots: Vec<Slot>) -> Leaf {
        let mut leaf = Leaf { heads: Heads::default(), slots };
        leaf.keys_changed();
        leaf
    }

    /// To be called after any change of the keys in `slots`.
    pub(super) fn keys_changed(&mut self) {
        self.heads = Heads::of(self.slots.iter().map(|slot| &*slot.key));
    }

    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        self.heads.search(key, |place| &self.slots[place].key)
    }

    fn push(&mut self, key: &[u8], make: impl FnOnce(&History) -> Entry) -> Grown {
        let (place, was_live) = match self.search(key) {
            Ok(place) => (place, self.slots[place].history.is_live()),
            Err(place) => {
                self.insert(place, key);
                (place, false)
            }
        };
        let history = &mut self.slots[place].history;
        let entry = make(history);
        history.push(entry);
        let live = isize::from(!entry.tombstone) - isize::from(was_live);
        let split = (self.slots.len() > WIDTH_MAX).then(|| self.split(place));
        Grown { by: Growth { live, versions: 1 }, split }
    }

    fn insert(&mut self, place: usize, key: &[u8]) {
        self.slots.insert(place, Slot { key: key.into(), history: History::default() });
        let (first, last) = (&self.slots[0].key, &self.slots[self.slots.len() - 1].key);
        if !self.heads.insert(place, key, first, last) {
            self.keys_changed();
        }
    }

    /// In half, except at the right edge: keys that come in ascending order leave full leaves
    /// behind.
    fn split(&mut self, inserted: usize) -> Split {
        let at_the_edge = inserted + 1 == self.slots.len();
        let middle = if at_the_edge { self.slots.len() - 1 } else { self.slots.len() / 2 };
        let mut right = Vec::with_capacity(WIDTH_MAX);
        right.extend(self.slots.drain(middle..));
        self.keys_changed();
        Split { key: right[0].key.clone(), node: Node::Leaf(Leaf::new(right)) }
    }
}
