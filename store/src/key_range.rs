//! Which keys a request means.

use std::borrow::Cow;

/// The smallest range end that means "everything from the key on".
const FROM_KEY: &[u8] = &[0];

/// A half-open range of keys, in the forms that etcd's `key` and `range_end` can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRange<'a> {
    start: Cow<'a, [u8]>,
    /// Exclusive; `None` is beyond all keys.
    end: Option<Cow<'a, [u8]>>,
    /// What `end` was made for: exactly the key `start`.
    single: bool,
}

impl<'a> KeyRange<'a> {
    /// Of a request: no `range_end` is one key, `\0` everything from `key` on.
    pub(crate) fn new(key: &'a [u8], range_end: &'a [u8]) -> Self {
        let single = range_end.is_empty();
        let end = match range_end {
            [] => Some(Cow::Owned(successor(key))),
            FROM_KEY => None,
            end => Some(Cow::Borrowed(end)),
        };
        KeyRange { start: Cow::Borrowed(key), end, single }
    }

    #[cfg(test)]
    pub(crate) const fn everything() -> KeyRange<'static> {
        KeyRange { start: Cow::Borrowed(&[]), end: None, single: false }
    }

    pub(crate) fn start(&self) -> &[u8] {
        &self.start
    }

    pub(crate) fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// The one key it means, if it was asked for as one.
    pub(crate) fn single(&self) -> Option<&[u8]> {
        self.single.then_some(&*self.start)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.end().is_some_and(|end| *end <= *self.start)
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        *self.start <= *key && self.end().is_none_or(|end| key < end)
    }

    /// The part behind `key`.
    pub(crate) fn after(&self, key: &[u8]) -> KeyRange<'a> {
        KeyRange { start: Cow::Owned(successor(key)), end: self.end.clone(), single: false }
    }
}

/// The smallest key behind `key`.
fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_end_takes_etcds_forms() {
        // One key, a range, from a key on, everything, and an inverted range that holds nothing.
        let one = KeyRange::new(b"b", b"");
        assert!(one.contains(b"b") && !one.contains(b"b\0") && !one.contains(b"a"));
        assert_eq!(one.single(), Some(&b"b"[..]));
        let range = KeyRange::new(b"b", b"d");
        assert!(range.contains(b"b") && range.contains(b"czz") && !range.contains(b"d"));
        let from = KeyRange::new(b"b", b"\0");
        assert!(from.contains(b"b") && from.contains(&[255; 9]) && !from.contains(b"a"));
        let everything = KeyRange::new(b"\0", b"\0");
        assert!(everything.contains(b"\0") && everything.contains(b"z"));
        assert!(KeyRange::new(b"d", b"b").is_empty() && KeyRange::new(b"b", b"b").is_empty());
        assert!(!from.is_empty() && !one.is_empty());
    }

    #[test]
    fn the_rest_of_a_range_starts_behind_the_last_key() {
        // Continuing behind a key excludes the key and includes its extensions.
        let range = KeyRange::new(b"a", b"c");
        let rest = range.after(b"b");
        assert!(!rest.contains(b"b") && rest.contains(b"b\0") && !rest.contains(b"c"));
    }
}
