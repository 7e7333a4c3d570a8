//! Which keys a watcher wants.

use bytes::Bytes;

use crate::CreateError;

/// One key, or all keys from `start` up to but excluding `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Key(Bytes),
    Range(Range),
}

/// Ordered by start, then end, so that equal ranges meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    pub(crate) start: Bytes,
    pub(crate) end: End,
}

/// Where a range ends. Derived order: any key is less than `Infinity`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Before(Bytes),
    Infinity,
}

impl End {
    pub(crate) fn is_after(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => key < end.as_ref(),
            End::Infinity => true,
        }
    }
}

impl Target {
    /// As a watch request spells it: no key is the smallest key, a `range_end` of `\0` is no end.
    ///
    /// The bytes are copied, because a watcher lives long and must not keep a whole request alive.
    pub(crate) fn parse(key: &[u8], range_end: &[u8]) -> Result<Target, CreateError> {
        let start = Bytes::copy_from_slice(if key.is_empty() { b"\0" } else { key });
        match range_end {
            b"" => Ok(Target::Key(start)),
            b"\0" => Ok(Target::Range(Range { start, end: End::Infinity })),
            end if *end <= *start => Err(CreateError::EmptyRange),
            end => {
                let end = End::Before(Bytes::copy_from_slice(end));
                Ok(Target::Range(Range { start, end }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves the spellings of a request: one key, from a key on, a range, nothing at all.
    #[test]
    fn spellings() {
        let key = |k: &'static [u8]| Bytes::from_static(k);
        let range = |start, end| Target::Range(Range { start, end });
        assert_eq!(Target::parse(b"a", b""), Ok(Target::Key(key(b"a"))));
        assert_eq!(Target::parse(b"", b""), Ok(Target::Key(key(b"\0"))));
        assert_eq!(Target::parse(b"a", b"\0"), Ok(range(key(b"a"), End::Infinity)));
        assert_eq!(Target::parse(b"", b"\0"), Ok(range(key(b"\0"), End::Infinity)));
        assert_eq!(Target::parse(b"a", b"b"), Ok(range(key(b"a"), End::Before(key(b"b")))));
        assert_eq!(Target::parse(b"b", b"a"), Err(CreateError::EmptyRange));
        assert_eq!(Target::parse(b"a", b"a"), Err(CreateError::EmptyRange));
    }
}
