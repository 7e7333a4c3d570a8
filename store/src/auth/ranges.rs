//! Ranges of keys: what permissions cover together, and whether a request lies within.

use api::authpb::Permission;
use bytes::Bytes;

/// The `range_end` that stands for "no end".
const OPEN_END: &[u8] = b"\0";

/// A set of keys: disjoint ranges that do not touch, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range>);

/// Keys from `begin` on and before `end`. Invariant: `begin < end`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    begin: Bytes,
    end: End,
}

/// Where a range ends; no end comes after every key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Before(Bytes),
    Open,
}

impl Ranges {
    /// The keys that any of `permissions` names.
    pub(super) fn of<'a>(permissions: impl Iterator<Item = &'a Permission>) -> Self {
        let mut ranges: Vec<_> = permissions.map(Range::of).collect();
        ranges.retain(|range| End::Before(range.begin.clone()) < range.end);
        ranges.sort_by(|a, b| a.begin.cmp(&b.begin));
        let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if End::Before(range.begin.clone()) <= last.end => {
                    last.end = range.end.max(std::mem::replace(&mut last.end, End::Open));
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// Whether all keys of a request are in the set. A request for a range that ends where it
    /// begins, or before, is one for its first key: so etcd's interval tree decides too.
    pub(super) fn cover(&self, key: &[u8], range_end: &[u8]) -> bool {
        let after = self.0.partition_point(|range| *range.begin <= *key);
        let Some(range) = after.checked_sub(1).and_then(|at| self.0.get(at)) else { return false };
        let End::Before(end) = &range.end else { return true };
        *key < **end && range_end != OPEN_END && *range_end <= **end
    }
}

impl Range {
    fn of(permission: &Permission) -> Self {
        let end = match &*permission.range_end {
            b"" => End::Before([&*permission.key, b"\0"].concat().into()),
            OPEN_END => End::Open,
            _ => End::Before(permission.range_end.clone()),
        };
        Self { begin: permission.key.clone(), end }
    }
}

/// Whether a permission for this names at least one key.
pub(super) fn is_valid_permission(key: &[u8], range_end: &[u8]) -> bool {
    !key.is_empty() && (range_end.is_empty() || range_end == OPEN_END || key < range_end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(given: &[(&str, &str)]) -> Ranges {
        let permissions: Vec<_> = given
            .iter()
            .map(|(key, end)| Permission {
                perm_type: 0,
                key: Bytes::copy_from_slice(key.as_bytes()),
                range_end: Bytes::copy_from_slice(end.as_bytes()),
            })
            .collect();
        Ranges::of(permissions.iter())
    }

    /// A point covers itself alone: not its successor, not everything that follows.
    #[test]
    fn a_point_is_one_key() {
        let granted = ranges(&[("k", "")]);
        assert!(granted.cover(b"k", b""));
        assert!(granted.cover(b"k", b"k\0"));
        for (key, end) in [("k\0", ""), ("j", ""), ("k", "k\x01"), ("k", "\0"), ("j", "l")] {
            assert!(!granted.cover(key.as_bytes(), end.as_bytes()), "{key:?} {end:?}");
        }
    }

    /// Ranges that touch or overlap count as one; a gap between them is noticed.
    #[test]
    fn neighbours_cover_together() {
        let granted = ranges(&[("m", "p"), ("a", "d"), ("d", "f"), ("e", "m"), ("x", "\0")]);
        assert!(granted.cover(b"a", b"p"));
        assert!(granted.cover(b"c", b"n"));
        assert!(granted.cover(b"x", b"\0"));
        assert!(granted.cover(b"y", b"zzz"));
        assert!(!granted.cover(b"a", b"q"));
        assert!(!granted.cover(b"a", b"\0"));
        assert!(!granted.cover(b"o", b"y"));
        assert!(!granted.cover(b"p", b""));
    }

    /// An inner range does not shorten the one around it.
    #[test]
    fn a_range_inside_another_changes_nothing() {
        assert_eq!(ranges(&[("a", "z"), ("b", "c")]), ranges(&[("a", "z")]));
        assert_eq!(ranges(&[("a", "\0"), ("b", "c")]), ranges(&[("a", "\0")]));
    }

    fn part() -> impl Strategy<Value = String> {
        "[abc]{0,2}|\0"
    }

    proptest! {
        /// A request is covered exactly if every key of it (of up to three letters) is in one of
        /// the permissions.
        #[test]
        fn cover_agrees_with_membership(
            given in prop::collection::vec((part(), part()), 0..6),
            key in "[abc]{1,2}",
            end in part(),
        ) {
            let given: Vec<_> = given.into_iter()
                .filter(|(key, end)| is_valid_permission(key.as_bytes(), end.as_bytes()))
                .collect();
            let granted = ranges(&given.iter().map(|(k, e)| (&**k, &**e)).collect::<Vec<_>>());
            let wanted = keys().into_iter().filter(|k| contains(&key, &end, k) || *k == key);
            let expected = wanted.into_iter().all(|k| given.iter().any(|(b, e)| contains(b, e, &k)));
            prop_assert_eq!(granted.cover(key.as_bytes(), end.as_bytes()), expected);
        }
    }

    fn contains(begin: &str, end: &str, key: &str) -> bool {
        match end {
            "" => key == begin,
            "\0" => key >= begin,
            _ => key >= begin && key < end,
        }
    }

    /// Enough keys that any two different sets of ranges over `part` differ in one of them.
    fn keys() -> Vec<String> {
        let letters = ["\0", "a", "b", "c", "d"];
        let mut keys: Vec<String> = letters.iter().map(|l| (*l).to_owned()).collect();
        for _ in 0..2 {
            let longer = keys.iter().flat_map(|k| letters.iter().map(move |l| format!("{k}{l}")));
            keys = keys.iter().cloned().chain(longer).collect();
        }
        keys
    }
}
