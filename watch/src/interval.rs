//! Ranges that contain a key: a treap ordered by range, each node with the greatest end below it.
//!
//! Asking costs O(log n) for each range found, and equal ranges share one node, so ten thousand
//! watchers of one prefix are one step. Priorities come from a fixed sequence: the same calls
//! build the same tree.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::core::WatcherKey;
use crate::target::{End, Range};

#[derive(Default)]
pub(crate) struct Intervals {
    root: Link,
    priorities: u64,
}

type Link = Option<Box<Node>>;

struct Node {
    range: Range,
    watchers: BTreeSet<WatcherKey>,
    /// The greatest end in this subtree.
    end_max: End,
    /// Not less than those of the children.
    priority: u64,
    left: Link,
    right: Link,
}

impl Intervals {
    pub(crate) fn insert(&mut self, range: &Range, watcher: WatcherKey) {
        self.priorities += 1;
        insert(&mut self.root, range, watcher, scatter(self.priorities));
    }

    pub(crate) fn remove(&mut self, range: &Range, watcher: WatcherKey) {
        remove(&mut self.root, range, watcher);
    }

    /// Calls `found` for every watcher whose range contains `key`.
    pub(crate) fn visit(&self, key: &[u8], found: &mut dyn FnMut(WatcherKey)) {
        visit(&self.root, key, &mut |watchers| watchers.iter().for_each(|w| found(*w)));
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        let mut any = false;
        visit(&self.root, key, &mut |_| any = true);
        any
    }
}

/// Spreads a counter over all of `u64` (the finalizer of SplitMix64).
pub(crate) fn scatter(counter: u64) -> u64 {
    let z = counter.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Node {
    fn update(&mut self) {
        let below = [&self.left, &self.right].into_iter().flatten().map(|child| &child.end_max);
        let end_max = below.fold(&self.range.end, |a, b| a.max(b)).clone();
        self.end_max = end_max;
    }
}

fn insert(link: &mut Link, range: &Range, watcher: WatcherKey, priority: u64) {
    let Some(node) = link else {
        let end_max = range.end.clone();
        let watchers = BTreeSet::from([watcher]);
        let (left, right) = (None, None);
        let range = range.clone();
        *link = Some(Box::new(Node { range, watchers, end_max, priority, left, right }));
        return;
    };
    match range.cmp(&node.range) {
        Ordering::Equal => {
            node.watchers.insert(watcher);
        }
        Ordering::Less => {
            insert(&mut node.left, range, watcher, priority);
            node.update();
            if node.left.as_ref().is_some_and(|left| left.priority > node.priority) {
                rotate_right(link);
            }
        }
        Ordering::Greater => {
            insert(&mut node.right, range, watcher, priority);
            node.update();
            if node.right.as_ref().is_some_and(|right| right.priority > node.priority) {
                rotate_left(link);
            }
        }
    }
}

/// The left child becomes the parent.
fn rotate_right(link: &mut Link) {
    let Some(mut node) = link.take() else { return };
    let Some(mut left) = node.left.take() else {
        *link = Some(node);
        return;
    };
    node.left = left.right.take();
    node.update();
    left.right = Some(node);
    left.update();
    *link = Some(left);
}

/// The right child becomes the parent.
fn rotate_left(link: &mut Link) {
    let Some(mut node) = link.take() else { return };
    let Some(mut right) = node.right.take() else {
        *link = Some(node);
        return;
    };
    node.right = right.left.take();
    node.update();
    right.left = Some(node);
    right.update();
    *link = Some(right);
}

fn remove(link: &mut Link, range: &Range, watcher: WatcherKey) {
    let Some(node) = link else { return };
    match range.cmp(&node.range) {
        Ordering::Less => remove(&mut node.left, range, watcher),
        Ordering::Greater => remove(&mut node.right, range, watcher),
        Ordering::Equal => {
            node.watchers.remove(&watcher);
            if node.watchers.is_empty() {
                *link = merge(node.left.take(), node.right.take());
                return;
            }
        }
    }
    node.update();
}

/// One tree of two, all of `left` being less than all of `right`.
fn merge(left: Link, right: Link) -> Link {
    match (left, right) {
        (None, tree) | (tree, None) => tree,
        (Some(mut a), Some(b)) if a.priority >= b.priority => {
            a.right = merge(a.right.take(), Some(b));
            a.update();
            Some(a)
        }
        (Some(a), Some(mut b)) => {
            b.left = merge(Some(a), b.left.take());
            b.update();
            Some(b)
        }
    }
}

fn visit(link: &Link, key: &[u8], found: &mut dyn FnMut(&BTreeSet<WatcherKey>)) {
    let Some(node) = link else { return };
    if !node.end_max.is_after(key) {
        return;
    }
    visit(&node.left, key, found);
    if node.range.start.as_ref() <= key {
        if node.range.end.is_after(key) {
            found(&node.watchers);
        }
        visit(&node.right, key, found);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn range() -> impl Strategy<Value = Range> {
        (0u8..40, 0u8..42).prop_map(|(start, end)| Range {
            start: Bytes::copy_from_slice(&[start]),
            end: if end > 40 {
                End::Infinity
            } else {
                End::Before(Bytes::copy_from_slice(&[start.max(end), 1]))
            },
        })
    }

    fn depth(link: &Link) -> usize {
        link.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }

    proptest! {
        /// Proves that after any inserts and removes a key finds exactly the ranges around it.
        #[test]
        fn finds_what_a_list_finds(
            steps in prop::collection::vec((any::<bool>(), range(), 0u64..4), 1..200)
        ) {
            let mut tree = Intervals::default();
            let mut list = BTreeSet::new();
            for (add, range, watcher) in steps {
                if add {
                    tree.insert(&range, watcher);
                    list.insert((watcher, range));
                } else {
                    tree.remove(&range, watcher);
                    list.remove(&(watcher, range));
                }
            }
            for key in 0u8..45 {
                let mut got = Vec::new();
                tree.visit(&[key], &mut |watcher| got.push(watcher));
                got.sort_unstable();
                let around = list.iter().filter(|(_, range)| {
                    range.start.as_ref() <= &[key][..] && range.end.is_after(&[key])
                });
                let want: Vec<_> = around.map(|(watcher, _)| *watcher).collect();
                prop_assert_eq!(tree.contains(&[key]), !want.is_empty());
                prop_assert_eq!(got, want);
            }
        }
    }

    /// Proves that ranges inserted in order do not make a list of the tree.
    #[test]
    fn stays_shallow_when_filled_in_order() {
        let mut tree = Intervals::default();
        for i in 0u32..20_000 {
            let start = Bytes::copy_from_slice(&i.to_be_bytes());
            let end = End::Before(Bytes::copy_from_slice(&(i + 1).to_be_bytes()));
            tree.insert(&Range { start, end }, 1);
        }
        assert!(depth(&tree.root) < 64, "depth {}", depth(&tree.root));
    }
}
