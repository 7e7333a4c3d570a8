//! The order in which pods are tried.

use super::super::queue::Queue;
use super::*;

#[test]
fn one_of_a_kind_is_tried_for_all() {
    // Proves the order by priority and age, that a kind which fits nowhere waits as a whole, and
    // that after a change one of it goes first and the next only if that one found a place.
    let mut queue = Queue::default();
    for (name, priority, created_s) in [("old", 0, 1), ("new", 0, 2), ("late", 5, 3)] {
        queue.add(&key(name), priority, created_s);
    }
    let mut all = Vec::new();
    while let Some(key) = queue.take_next() {
        all.push(key.name.to_string());
        queue.park(&key, (0, None), false);
    }
    assert_eq!(all, ["late", "old", "new"]);
    assert!(queue.take_next().is_none());
    queue.wake();
    queue.wake();
    assert_eq!(queue.take_next(), Some(key("late")));
    assert_eq!(queue.take_next(), None, "the others wait for what becomes of it");
    queue.park(&key("late"), (0, None), false);
    assert_eq!(queue.take_next(), None);
    queue.wake();
    assert_eq!(queue.take_next(), Some(key("late")));
    queue.placed(&key("late"));
    assert_eq!(queue.take_next(), Some(key("old")));
    queue.remove(&key("old"));
    queue.remove(&key("new"));
    queue.wake();
    assert_eq!(queue.take_next(), None);
}

#[test]
fn a_probe_that_goes_away_holds_nobody_up() {
    // Proves that deleting the one that was tried for its kind lets the next one be tried.
    let mut queue = Queue::default();
    for name in ["one", "two"] {
        queue.add(&key(name), 0, 0);
    }
    while let Some(key) = queue.take_next() {
        queue.park(&key, (7, None), false);
    }
    queue.wake();
    queue.remove(&key("one"));
    queue.wake();
    assert_eq!(queue.take_next(), Some(key("two")));
}
