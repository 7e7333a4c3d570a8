//! Which keys are copied, and what they are called at the destination.

use bytes::Bytes;

use crate::ctl::range;

/// One prefix in the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    from: Bytes,
    to: Bytes,
}

impl Mapping {
    pub(super) fn new(from: &[u8], to: &[u8]) -> Self {
        Self { from: Bytes::copy_from_slice(from), to: Bytes::copy_from_slice(to) }
    }

    /// The key at the destination. Keys keep their order.
    pub(super) fn map(&self, key: &Bytes) -> Bytes {
        if self.from == self.to {
            return key.clone();
        }
        let rest = key.strip_prefix(self.from.as_ref()).unwrap_or(key);
        [&self.to, rest].concat().into()
    }

    /// Key and range end of what is copied.
    pub(super) fn source_range(&self) -> (Bytes, Bytes) {
        range::prefix(self.from.clone())
    }

    /// Key and range end of where it is copied to.
    pub(super) fn destination_range(&self) -> (Bytes, Bytes) {
        range::prefix(self.to.clone())
    }

    /// Both prefixes, as people read them.
    pub(super) fn texts(&self) -> (String, String) {
        (self.from.escape_ascii().to_string(), self.to.escape_ascii().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_prefix_alone_is_replaced() {
        // Proves that what looks like the prefix further on in a key stays.
        let map = |from: &[u8], to: &[u8], key: &'static str| {
            Mapping::new(from, to).map(&Bytes::from_static(key.as_bytes()))
        };
        assert_eq!(map(b"a/", b"b/", "a/a/x"), "b/a/x");
        assert_eq!(map(b"a/", b"", "a/x"), "x");
        assert_eq!(map(b"", b"b/", "x"), "b/x");
        assert_eq!(map(b"", b"", "x"), "x");
    }
}
