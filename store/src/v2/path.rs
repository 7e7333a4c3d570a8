//! Where a node is.

use bytes::Bytes;

/// Names in a path, at most: whoever walks the tree goes that deep.
pub const DEPTH_MAX: usize = 128;

/// Bytes of a path, at most. With the depth it bounds what one write can make.
pub const PATH_BYTES_MAX: usize = 8 << 10;

/// Digits of the names that are given in order.
const ORDER_DIGITS: usize = 20;

/// An absolute path without `.`, `..`, empty names or a slash at its end; the root is `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Bytes);

impl Path {
    /// What `raw` means, in memory of its own. It cannot leave the root.
    pub fn clean(raw: &[u8]) -> Path {
        let mut names: Vec<&[u8]> = Vec::new();
        for name in raw.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        let mut clean = vec![b'/'];
        clean.extend_from_slice(&names.join(&b'/'));
        Path(clean.into())
    }

    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// As clients see it: the root has no name.
    pub(crate) fn shown(&self) -> Bytes {
        if self.is_root() { Bytes::new() } else { self.0.clone() }
    }

    /// Its names, each with the length of the path up to and with it.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let mut end = 0;
        let names = self.0[1..].split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        names.map(move |name| {
            end += 1 + name.len();
            (name, end)
        })
    }

    /// Its beginning.
    pub(crate) fn upto(&self, end: usize) -> Bytes {
        self.0.slice(..end.max(1))
    }

    /// The directory it is in, and its name there; `None` for the root.
    pub(crate) fn split(&self) -> Option<(Path, &[u8])> {
        let (name, end) = self.steps().last()?;
        Some((Path(self.upto(end - name.len() - 1)), name))
    }

    pub(crate) fn child(&self, name: &[u8]) -> Path {
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        if !self.is_root() {
            path.extend_from_slice(&self.0);
        }
        path.push(b'/');
        path.extend_from_slice(name);
        Path(path.into())
    }

    /// The path below it that is named by a number.
    pub(crate) fn in_order(&self, index: u64) -> Path {
        self.child(format!("{index:0ORDER_DIGITS$}").as_bytes())
    }

    pub(crate) fn is_too_long(&self) -> bool {
        self.0.len() > PATH_BYTES_MAX || self.steps().count() > DEPTH_MAX
    }
}

/// Whether `path` is below `above`, at any depth.
pub(super) fn is_below(path: &[u8], above: &[u8]) -> bool {
    match path.strip_prefix(above) {
        Some(_) if above == b"/" => path.len() > 1,
        Some(rest) => rest.first() == Some(&b'/'),
        None => false,
    }
}

/// Whether a name begins with `_` in what `path` has behind `above`.
pub(super) fn is_hidden(path: &[u8], above: &[u8]) -> bool {
    let behind = path.get(above.len()..).unwrap_or_default();
    let begins = above == b"/" && behind.first() == Some(&b'_');
    begins || behind.windows(2).any(|pair| pair == b"/_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        // Shows that whatever is sent names one place below the root.
        for (raw, clean) in [
            ("", "/"),
            ("/", "/"),
            ("a", "/a"),
            ("/a//b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../../x", "/x"),
        ] {
            assert_eq!(Path::clean(raw.as_bytes()).as_bytes(), clean, "{raw}");
        }
    }

    #[test]
    fn parts_of_a_path() {
        // Shows the names with their ends, the directory, the children, and the number's width.
        let path = Path::clean(b"/a/bc");
        let steps: Vec<_> = path.steps().collect();
        assert_eq!(steps, [(&b"a"[..], 2), (&b"bc"[..], 5)]);
        assert_eq!(path.split(), Some((Path::clean(b"/a"), &b"bc"[..])));
        assert_eq!(Path::clean(b"/a").split(), Some((Path::clean(b"/"), &b"a"[..])));
        assert_eq!(Path::clean(b"/").split(), None);
        assert_eq!(Path::clean(b"/").child(b"x"), Path::clean(b"/x"));
        assert_eq!(path.in_order(7).as_bytes(), "/a/bc/00000000000000000007");
    }

    #[test]
    fn below_and_hidden_look_at_whole_names() {
        // Shows that `/foobar` is not below `/foo`, and what a leading underscore hides.
        assert!(is_below(b"/foo/bar", b"/foo"));
        assert!(is_below(b"/foo", b"/"));
        assert!(!is_below(b"/foobar", b"/foo") && !is_below(b"/foo", b"/foo"));
        assert!(!is_below(b"/", b"/"));
        assert!(is_hidden(b"/a/_b/c", b"/a") && is_hidden(b"/_a", b"/"));
        assert!(!is_hidden(b"/_a/b", b"/_a") && !is_hidden(b"/a_b", b"/"));
    }
}
