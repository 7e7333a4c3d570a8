//! Writing a database in one go: keys come in order, pages go out in order.

use std::io::{self, Seek, SeekFrom, Write};

use super::page::{
    BRANCH, BUCKET_BYTES, ELEMENT_BYTES, FREE_LIST, HEADER_BYTES, IS_BUCKET, LEAF, META,
    META_PAGES, Meta, header, put_u32, put_u64,
};

/// Beyond this bbolt takes no key.
const KEY_BYTES_MAX: usize = 32_768;
/// Nor a value, beyond this.
const VALUE_BYTES_MAX: usize = (1 << 31) - 2;

/// Writes a database. Without [`Builder::finish`] it stays one that nobody opens: the meta pages
/// come last.
pub struct Builder<W> {
    out: W,
    page_bytes: usize,
    /// The next page to be written.
    next: u64,
    /// Names, and the pages of their roots.
    buckets: Vec<(Vec<u8>, u64)>,
}

/// A bucket in the making. Without [`Tree::finish`] it is not part of the database.
pub struct Tree<'a, W> {
    builder: &'a mut Builder<W>,
    name: Vec<u8>,
    /// The open node of each level, from the leaves up.
    levels: Vec<Node>,
    last: Option<Vec<u8>>,
}

/// Elements of a page that is not written yet.
#[derive(Default)]
struct Node {
    elements: Vec<Element>,
    /// With the header.
    bytes: usize,
}

struct Element {
    flags: u32,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<W: Write + Seek> Builder<W> {
    /// `out` is empty.
    ///
    /// # Errors
    /// Those of `out`, here and below.
    pub fn new(mut out: W, page_bytes: usize) -> io::Result<Self> {
        out.seek(SeekFrom::Start(META_PAGES * page_bytes as u64))?;
        Ok(Self { out, page_bytes, next: META_PAGES, buckets: Vec::new() })
    }

    /// Begins a bucket. Each has its own name; they may come in any order.
    pub fn bucket(&mut self, name: &[u8]) -> Tree<'_, W> {
        Tree { builder: self, name: name.to_vec(), levels: vec![Node::default()], last: None }
    }

    /// Writes the bucket of all buckets and the meta pages, and flushes `out`.
    ///
    /// # Errors
    /// Those of `out`; [`io::ErrorKind::InvalidInput`] if two buckets have one name.
    pub fn finish(mut self) -> io::Result<W> {
        let mut buckets = std::mem::take(&mut self.buckets);
        buckets.sort();
        let mut root = Tree {
            builder: &mut self,
            name: Vec::new(),
            levels: vec![Node::default()],
            last: None,
        };
        for (name, page) in buckets {
            let mut value = vec![0; BUCKET_BYTES];
            put_u64(&mut value, 0, page);
            root.put_element(Element { flags: IS_BUCKET, key: name, value })?;
        }
        let root = root.close()?;
        let free_list = self.page(FREE_LIST, &[])?;
        for transaction in 0..META_PAGES {
            let meta = Meta {
                page_bytes: u32::try_from(self.page_bytes).expect("a page is small"),
                root,
                free_list,
                pages: self.next,
                transaction,
            };
            self.out.seek(SeekFrom::Start(transaction * self.page_bytes as u64))?;
            self.out.write_all(&header(transaction, META, 0, 0))?;
            self.out.write_all(&meta.encode())?;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    /// Writes a node, and as many pages as it takes. The page's number is the answer.
    fn page(&mut self, kind: u16, elements: &[Element]) -> io::Result<u64> {
        let id = self.next;
        let data: usize = elements.iter().map(|it| it.key.len() + it.value_len(kind)).sum();
        let bytes = HEADER_BYTES + elements.len() * ELEMENT_BYTES + data;
        let pages = bytes.div_ceil(self.page_bytes);
        let count = u16::try_from(elements.len()).expect("no page has room for so many");
        let further = u32::try_from(pages - 1).expect("no value is so long");
        let mut page = Vec::with_capacity(pages * self.page_bytes);
        page.extend_from_slice(&header(id, kind, count, further));
        // From the element that is written to its key.
        let mut offset = elements.len() * ELEMENT_BYTES;
        for element in elements {
            page.extend_from_slice(&element.encode(kind, offset));
            offset = offset - ELEMENT_BYTES + element.key.len() + element.value_len(kind);
        }
        for element in elements {
            page.extend_from_slice(&element.key);
            page.extend_from_slice(&element.value[..element.value_len(kind)]);
        }
        page.resize(pages * self.page_bytes, 0);
        self.out.write_all(&page)?;
        self.next += pages as u64;
        Ok(id)
    }
}

impl Element {
    /// A branch has the number of a page in the place of a value, within the element.
    fn value_len(&self, kind: u16) -> usize {
        if kind == BRANCH { 0 } else { self.value.len() }
    }

    fn encode(&self, kind: u16, offset: usize) -> [u8; ELEMENT_BYTES] {
        let short = |len: usize| u32::try_from(len).expect("lengths were checked");
        let mut bytes = [0; ELEMENT_BYTES];
        if kind == BRANCH {
            put_u32(&mut bytes, 0, short(offset));
            put_u32(&mut bytes, 4, short(self.key.len()));
            bytes[8..].copy_from_slice(&self.value);
        } else {
            put_u32(&mut bytes, 0, self.flags);
            put_u32(&mut bytes, 4, short(offset));
            put_u32(&mut bytes, 8, short(self.key.len()));
            put_u32(&mut bytes, 12, short(self.value.len()));
        }
        bytes
    }
}

impl<W: Write + Seek> Tree<'_, W> {
    /// Adds a key that is larger than the last one.
    ///
    /// # Errors
    /// Those of the output; [`io::ErrorKind::InvalidInput`] for a key that is out of order, or a
    /// key or value that bbolt cannot hold.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            let (key, value) = (key.len(), value.len());
            return Err(refused(&format!("key of {key} bytes with a value of {value} bytes")));
        }
        self.put_element(Element { flags: 0, key: key.to_vec(), value: value.to_vec() })
    }

    /// Adds the bucket to the database.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<()> {
        let name = std::mem::take(&mut self.name);
        let root = self.close()?;
        self.builder.buckets.push((name, root));
        Ok(())
    }

    fn put_element(&mut self, element: Element) -> io::Result<()> {
        if self.last.as_ref().is_some_and(|last| *last >= element.key) {
            return Err(refused(&format!("key {} after a larger one", element.key.escape_ascii())));
        }
        self.last = Some(element.key.clone());
        self.add(0, element)
    }

    fn add(&mut self, level: usize, element: Element) -> io::Result<()> {
        if level == self.levels.len() {
            self.levels.push(Node::default());
        }
        let bytes = ELEMENT_BYTES + element.key.len() + element.value_len(kind_of(level));
        // A branch with one child would only be another level.
        let elements_min = if level == 0 { 1 } else { 2 };
        let node = &self.levels[level];
        if node.elements.len() >= elements_min
            && HEADER_BYTES + node.bytes + bytes > self.builder.page_bytes
        {
            self.write(level)?;
        }
        let node = &mut self.levels[level];
        node.bytes += bytes;
        node.elements.push(element);
        Ok(())
    }

    /// Writes the open node of a level, and tells the level above.
    fn write(&mut self, level: usize) -> io::Result<()> {
        let node = std::mem::take(&mut self.levels[level]);
        let page = self.builder.page(kind_of(level), &node.elements)?;
        let first = node.elements.into_iter().next();
        let key = first.expect("a node that is written has elements").key;
        self.add(level + 1, Element { flags: 0, key, value: page.to_le_bytes().to_vec() })
    }

    /// Writes what is open; the root's page is the answer.
    fn close(&mut self) -> io::Result<u64> {
        for level in 0.. {
            let is_top = level + 1 == self.levels.len();
            let node = &self.levels[level];
            if is_top && level == 0 {
                return self.builder.page(LEAF, &node.elements);
            }
            if is_top && let [only] = &*node.elements {
                let page = only.value.first_chunk().expect("a page's number has eight bytes");
                return Ok(u64::from_le_bytes(*page));
            }
            self.write(level)?;
        }
        unreachable!("a level has fewer nodes than the one below")
    }
}

fn kind_of(level: usize) -> u16 {
    if level == 0 { LEAF } else { BRANCH }
}

fn refused(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("bbolt takes no {what}"))
}
