//! Reading a database of unknown origin.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::page::{
    BRANCH, BUCKET_BYTES, ELEMENT_BYTES, HEADER_BYTES, IS_BUCKET, LEAF, META_BYTES, META_PAGES,
    Meta, damaged, get_u16, get_u32, get_u64,
};

/// Page sizes that are looked for when the first meta page says nothing.
const PAGE_BYTES: std::ops::RangeInclusive<u32> = 512..=65_536;

/// Pages that belong together are read at once: what one value, or one node, may take.
const NODE_BYTES_MAX: u64 = 256 << 20;

/// No tree of this many levels fits on a disk.
const LEVELS_MAX: usize = 32;

/// What a database is read from.
pub trait ReadAt {
    /// Fills `buffer` from what is at `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] behind the end.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for &[u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let from = from.and_then(|from| from.get(..buffer.len()));
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A database as of its last transaction. Errors of all methods are of kind
/// [`io::ErrorKind::InvalidData`] if something in it is impossible; all else comes from where it is
/// read, or from the visitor.
pub struct Db<F> {
    file: F,
    meta: Meta,
}

/// Keys and values of one name.
pub enum Bucket {
    /// In pages of its own, from this one on.
    Tree(u64),
    /// In this page, which stood in the place of a value.
    Inline(Vec<u8>),
}

/// A branch or a leaf.
struct Node {
    /// For messages.
    id: u64,
    is_leaf: bool,
    count: usize,
    bytes: Vec<u8>,
}

/// What a leaf's element has.
struct Leaf<'a> {
    is_bucket: bool,
    key: &'a [u8],
    value: &'a [u8],
}

impl<F: ReadAt> Db<F> {
    /// The database in the first `bytes` bytes of `file`.
    ///
    /// # Errors
    /// As above; also if it is none, or is cut short.
    pub fn open(file: F, bytes: u64) -> io::Result<Self> {
        let meta = newest_meta(&file)?;
        let size = meta.pages.checked_mul(u64::from(meta.page_bytes));
        if size.is_none_or(|size| size > bytes) {
            let text = format!("it has {} pages, and the file has {bytes} bytes", meta.pages);
            return Err(damaged(format!("it is cut short: {text}")));
        }
        Ok(Self { file, meta })
    }

    /// Bytes of all its pages.
    pub fn size_bytes(&self) -> u64 {
        self.meta.pages * u64::from(self.meta.page_bytes)
    }

    /// Visits all buckets with their names, in order.
    ///
    /// # Errors
    /// As above.
    pub fn buckets(
        &self,
        mut visit: impl FnMut(&[u8], Bucket) -> io::Result<()>,
    ) -> io::Result<()> {
        self.walk(self.load(self.meta.root)?, &mut |leaf| match leaf.is_bucket {
            true => visit(leaf.key, bucket_of(leaf.value)?),
            false => Err(damaged("there is a key outside of all buckets")),
        })
    }

    /// # Errors
    /// As above.
    pub fn bucket(&self, name: &[u8]) -> io::Result<Option<Bucket>> {
        let mut found = None;
        self.buckets(|other, bucket| {
            if other == name {
                found = Some(bucket);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Visits the keys and values of a bucket in the order of keys. Buckets within it are left out.
    ///
    /// # Errors
    /// As above.
    pub fn each(
        &self,
        bucket: &Bucket,
        mut visit: impl FnMut(&[u8], &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let root = match bucket {
            Bucket::Tree(id) => self.load(*id)?,
            Bucket::Inline(bytes) => Node::new(0, bytes.clone())?,
        };
        self.walk(root, &mut |leaf| match leaf.is_bucket {
            true => Ok(()),
            false => visit(leaf.key, leaf.value),
        })
    }

    fn walk(
        &self,
        root: Node,
        visit: &mut dyn FnMut(Leaf<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        // No page is part of a tree twice.
        let mut pages_left = self.meta.pages;
        let mut last: Option<Vec<u8>> = None;
        let mut path = vec![(root, 0)];
        while let Some((node, next)) = path.last_mut() {
            if *next == node.count {
                path.pop();
                continue;
            }
            let at = *next;
            *next += 1;
            if node.is_leaf {
                let leaf = node.leaf(at)?;
                if last.as_ref().is_some_and(|last| **last >= *leaf.key) {
                    return Err(node.damaged("its keys are not in order"));
                }
                let last = last.get_or_insert_default();
                last.clear();
                last.extend_from_slice(leaf.key);
                visit(leaf)?;
                continue;
            }
            let child = node.child(at)?;
            pages_left = pages_left
                .checked_sub(1)
                .ok_or_else(|| damaged("its pages lead back to themselves"))?;
            if path.len() == LEVELS_MAX {
                return Err(damaged("its tree is too deep"));
            }
            path.push((self.load(child)?, 0));
        }
        Ok(())
    }

    fn load(&self, id: u64) -> io::Result<Node> {
        let wrong = |what: &str| damaged(format!("page {id}: {what}"));
        if !(META_PAGES..self.meta.pages).contains(&id) {
            return Err(wrong("there is no such page"));
        }
        let page_bytes = u64::from(self.meta.page_bytes);
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut header, id * page_bytes)?;
        if get_u64(&header, 0) != Some(id) {
            return Err(wrong("it has another number"));
        }
        let further = u64::from(get_u32(&header, 12).unwrap_or(u32::MAX));
        if further >= self.meta.pages - id {
            return Err(wrong("it goes on behind the last page"));
        }
        let bytes = (further + 1) * page_bytes;
        if bytes > NODE_BYTES_MAX {
            return Err(wrong(&format!("it has {bytes} bytes")));
        }
        let bytes = usize::try_from(bytes).map_err(|_| wrong("it does not fit into memory"))?;
        let mut node = vec![0; bytes];
        self.file.read_exact_at(&mut node, id * page_bytes)?;
        Node::new(id, node)
    }
}

/// The valid meta page of the later transaction.
fn newest_meta(file: &impl ReadAt) -> io::Result<Meta> {
    let at = |page: u64| {
        let mut bytes = [0; META_BYTES];
        let read = file.read_exact_at(&mut bytes, page + HEADER_BYTES as u64);
        read.ok().and_then(|()| Meta::decode(&bytes))
    };
    let sized = |size: u32| at(u64::from(size)).filter(|meta| meta.page_bytes == size);
    let possible =
        |meta: &Meta| PAGE_BYTES.contains(&meta.page_bytes) && meta.page_bytes.is_power_of_two();
    let first = at(0).filter(possible);
    let second = match &first {
        Some(first) => sized(first.page_bytes),
        None => (9..=16).find_map(|power| sized(1 << power)),
    };
    let metas = [first, second].into_iter().flatten();
    metas.max_by_key(|meta| meta.transaction).ok_or_else(|| damaged("it has no valid meta page"))
}

fn bucket_of(value: &[u8]) -> io::Result<Bucket> {
    let root = get_u64(value, 0).ok_or_else(|| damaged("a bucket is cut short"))?;
    if root != 0 {
        return Ok(Bucket::Tree(root));
    }
    let inline = value.get(BUCKET_BYTES..).unwrap_or_default();
    Ok(Bucket::Inline(inline.to_vec()))
}

impl Node {
    fn new(id: u64, bytes: Vec<u8>) -> io::Result<Self> {
        let kind = get_u16(&bytes, 8);
        let is_leaf = kind == Some(LEAF);
        if !is_leaf && kind != Some(BRANCH) {
            return Err(damaged(format!("page {id}: it is neither branch nor leaf")));
        }
        let count = usize::from(get_u16(&bytes, 10).unwrap_or(0));
        Ok(Self { id, is_leaf, count, bytes })
    }

    fn damaged(&self, what: &str) -> io::Error {
        damaged(format!("page {}: {what}", self.id))
    }

    fn leaf(&self, at: usize) -> io::Result<Leaf<'_>> {
        self.find_leaf(at).ok_or_else(|| self.damaged("an element reaches beyond it"))
    }

    fn find_leaf(&self, at: usize) -> Option<Leaf<'_>> {
        let element = HEADER_BYTES + at * ELEMENT_BYTES;
        let field = |index: usize| get_u32(&self.bytes, element + 4 * index);
        let start = element.checked_add(field(1)? as usize)?;
        let (key_len, value_len) = (field(2)? as usize, field(3)? as usize);
        let (key, rest) = self.bytes.get(start..)?.split_at_checked(key_len)?;
        Some(Leaf { is_bucket: field(0)? & IS_BUCKET != 0, key, value: rest.get(..value_len)? })
    }

    fn child(&self, at: usize) -> io::Result<u64> {
        let child = get_u64(&self.bytes, HEADER_BYTES + at * ELEMENT_BYTES + 8);
        child.ok_or_else(|| self.damaged("an element reaches beyond it"))
    }
}
