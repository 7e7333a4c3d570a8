//! Finding a key among sorted keys while touching few of them.

use std::cmp::Ordering;

/// The first eight bytes of each key behind what all keys of a node have in common, as numbers.
///
/// Keys lie scattered in memory, and often begin alike for dozens of bytes; their heads lie side
/// by side. Most searches look at one key only.
///
/// Invariant: all keys begin with the same `common` bytes, and `heads` has one number for each, in
/// their order.
#[derive(Debug, Default)]
pub(super) struct Heads {
    common: usize,
    heads: Vec<u64>,
}

impl Heads {
    pub(super) fn of<'k>(keys: impl DoubleEndedIterator<Item = &'k [u8]> + Clone) -> Heads {
        let common = match (keys.clone().next(), keys.clone().next_back()) {
            (Some(first), Some(last)) => common(first, last),
            _ => 0,
        };
        Heads { common, heads: keys.map(|key| head(key, common)).collect() }
    }

    /// Where `key` is among the keys, of which `key_at` gives each, or where it would be.
    pub(super) fn search<'k>(
        &self,
        key: &[u8],
        key_at: impl Fn(usize) -> &'k [u8],
    ) -> Result<usize, usize> {
        if self.heads.is_empty() {
            return Err(0);
        }
        if self.common > 0 {
            let common = &key_at(0)[..self.common];
            let start = &key[..self.common.min(key.len())];
            match start.cmp(common) {
                Ordering::Less => return Err(0),
                Ordering::Greater => return Err(self.heads.len()),
                Ordering::Equal => {}
            }
        }
        let wanted = head(key, self.common);
        let mut from = self.heads.partition_point(|head| *head < wanted);
        let mut to = from + self.heads[from..].partition_point(|head| *head == wanted);
        while from < to {
            let middle = usize::midpoint(from, to);
            match key_at(middle).cmp(key) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => to = middle,
            }
        }
        Err(from)
    }

    /// Takes in a key that stands at `place` now, between the others, which begin with `first`
    /// and end with `last`. False if it has less in common with them: then all heads are due.
    #[must_use]
    pub(super) fn insert(&mut self, place: usize, key: &[u8], first: &[u8], last: &[u8]) -> bool {
        let is_outermost = place == 0 || place == self.heads.len();
        if is_outermost && common(first, last) < self.common {
            return false;
        }
        self.heads.insert(place, head(key, self.common));
        true
    }
}

fn common(first: &[u8], last: &[u8]) -> usize {
    first.iter().zip(last).take_while(|(a, b)| a == b).count()
}

/// Missing bytes count as zeros: equal heads say nothing, different ones tell the order.
pub(super) fn head(key: &[u8], common: usize) -> u64 {
    let rest = &key[common..];
    if let Some(first) = rest.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut padded = [0; 8];
    padded[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(padded)
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_a_binary_search_finds(
            keys in btree_set("[a\0]{0,3}(prefix)?[ab\0]{0,11}", 0..40),
            wanted in "[a\0]{0,3}(prefix)?[ab\0]{0,11}",
        ) {
            // Built at once or key by key, for keys that are there and keys that are not.
            let keys: Vec<_> = keys.iter().map(String::as_bytes).collect();
            let heads = Heads::of(keys.iter().copied());
            let (mut grown, mut so_far) = (Heads::default(), Vec::new());
            for key in keys.iter().rev() {
                so_far.insert(0, *key);
                if !grown.insert(0, key, so_far[0], so_far[so_far.len() - 1]) {
                    grown = Heads::of(so_far.iter().copied());
                }
            }
            for key in keys.iter().copied().chain([wanted.as_bytes()]) {
                let expected = keys.binary_search(&key);
                prop_assert_eq!(heads.search(key, |place| keys[place]), expected);
                prop_assert_eq!(grown.search(key, |place| keys[place]), expected);
            }
        }
    }
}
