//! Key ranges as etcdctl's flags name them.

use bytes::Bytes;

/// The range end that means "every key from the first one on".
pub(crate) const FROM_KEY: Bytes = Bytes::from_static(b"\0");

/// The first key after all keys that begin with `prefix`; [`FROM_KEY`] when there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    FROM_KEY
}

/// Key and range end of everything that begins with `prefix`.
pub(crate) fn prefix(prefix: Bytes) -> (Bytes, Bytes) {
    if prefix.is_empty() {
        return (FROM_KEY, FROM_KEY);
    }
    let end = prefix_end(&prefix);
    (prefix, end)
}

/// Key and range end of everything at or after `key`.
pub(crate) fn from_key(key: Bytes) -> (Bytes, Bytes) {
    if key.is_empty() { (FROM_KEY, FROM_KEY) } else { (key, FROM_KEY) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves the carry: a prefix that ends in 0xff ends at the next shorter prefix.
    #[test]
    fn prefix_end_carries() {
        assert_eq!(prefix_end(b"ab"), &b"ac"[..]);
        assert_eq!(prefix_end(b"a\xff\xff"), &b"b"[..]);
        assert_eq!(prefix_end(b"\xff"), FROM_KEY);
    }
}
