//! Leaves and branches.

use std::ops::{AddAssign, ControlFlow, SubAssign};

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
    Leaf(Vec<Slot>),
    Branch(Box<Branch>),
}

impl Default for Node {
    fn default() -> Self {
        Node::Leaf(Vec::new())
    }
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: Box<[u8]>,
    pub(super) history: History,
}

/// Invariant: `separators[i]` is above every key of child `i` and not above any of child `i + 1`.
#[derive(Debug, Default)]
pub(super) struct Branch {
    pub(super) separators: Vec<Box<[u8]>>,
    pub(super) children: Vec<Node>,
    pub(super) summaries: Vec<Summary>,
}

impl Node {
    pub(super) fn get(&self, key: &[u8]) -> Option<&History> {
        let mut node = self;
        loop {
            match node {
                Node::Leaf(slots) => {
                    let place = search(slots, key).ok()?;
                    return Some(&slots[place].history);
                }
                Node::Branch(branch) => node = &branch.children[branch.child_of(key)],
            }
        }
    }

    pub(super) fn width(&self) -> usize {
        match self {
            Node::Leaf(slots) => slots.len(),
            Node::Branch(branch) => branch.children.len(),
        }
    }

    pub(super) fn summary(&self) -> Summary {
        let mut sum = Summary::default();
        match self {
            Node::Leaf(slots) => slots.iter().for_each(|slot| sum += Summary::of(&slot.history)),
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
                Node::Leaf(slots) => {
                    let place = search(slots, key).unwrap_or_else(|place| place);
                    let live = slots[..place].iter().filter(|slot| slot.history.is_live());
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
            Node::Leaf(slots) => {
                let first = search(slots, range.start()).unwrap_or_else(|place| place);
                for slot in &slots[first..] {
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
            Node::Leaf(slots) => push_into_leaf(slots, key, make),
            Node::Branch(branch) => branch.push(key, make),
        }
    }

    /// A root that was split becomes a branch over its halves.
    pub(super) fn grow(&mut self, right: Split) {
        let left = std::mem::take(self);
        let summaries = vec![left.summary(), right.node.summary()];
        let children = vec![left, right.node];
        *self = Node::Branch(Box::new(Branch { separators: vec![right.key], children, summaries }));
    }
}

impl Branch {
    /// Where `key` is, or would be.
    pub(super) fn child_of(&self, key: &[u8]) -> usize {
        self.separators.partition_point(|separator| **separator <= *key)
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
        (self.children.len() > WIDTH_MAX).then(|| self.split())
    }

    fn split(&mut self) -> Split {
        let middle = self.children.len() / 2;
        let right = Branch {
            separators: self.separators.split_off(middle),
            children: self.children.split_off(middle),
            summaries: self.summaries.split_off(middle),
        };
        let key = self.separators.pop().expect("the left half has at least two children");
        Split { key, node: Node::Branch(Box::new(right)) }
    }
}

fn push_into_leaf(
    slots: &mut Vec<Slot>,
    key: &[u8],
    make: impl FnOnce(&History) -> Entry,
) -> Grown {
    let (place, was_live) = match search(slots, key) {
        Ok(place) => (place, slots[place].history.is_live()),
        Err(place) => {
            slots.insert(place, Slot { key: key.into(), history: History::default() });
            (place, false)
        }
    };
    let entry = make(&slots[place].history);
    slots[place].history.push(entry);
    let live = isize::from(!entry.tombstone) - isize::from(was_live);
    let split = (slots.len() > WIDTH_MAX).then(|| split_leaf(slots, place));
    Grown { by: Growth { live, versions: 1 }, split }
}

/// In half, except at the right edge: keys that come in ascending order leave full leaves behind.
fn split_leaf(slots: &mut Vec<Slot>, inserted: usize) -> Split {
    let at_the_edge = inserted + 1 == slots.len();
    let middle = if at_the_edge { slots.len() - 1 } else { slots.len() / 2 };
    let mut right = Vec::with_capacity(WIDTH_MAX);
    right.extend(slots.drain(middle..));
    Split { key: right[0].key.clone(), node: Node::Leaf(right) }
}

pub(super) fn search(slots: &[Slot], key: &[u8]) -> Result<usize, usize> {
    slots.binary_search_by(|slot| (*slot.key).cmp(key))
}
