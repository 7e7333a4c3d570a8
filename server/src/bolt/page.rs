//! The layout of pages. Integers are little endian.
//!
//! | offset | bytes | page header |
//! |--:|--:|---|
//! | 0 | 8 | number of the page |
//! | 8 | 2 | kind: 1 branch, 2 leaf, 4 meta, 16 free list |
//! | 10 | 2 | count of elements |
//! | 12 | 4 | how many further pages belong to it |
//!
//! Elements of 16 bytes follow, and after them keys and values. A leaf's element is flags (1: the
//! value is a bucket), offset of the key from the element, length of the key, length of the value,
//! each `u32`; the value follows its key. A branch's is offset and length (`u32`) of the smallest
//! key, and the number of the page (`u64`).

use std::io;

pub(super) const HEADER_BYTES: usize = 16;
pub(super) const ELEMENT_BYTES: usize = 16;

pub(super) const BRANCH: u16 = 1;
pub(super) const LEAF: u16 = 2;
pub(super) const META: u16 = 4;
pub(super) const FREE_LIST: u16 = 16;

/// The flag of a leaf's element whose value is a bucket.
pub(super) const IS_BUCKET: u32 = 1;

/// Number of the root page and a sequence number; a bucket that has no page of its own follows.
pub(super) const BUCKET_BYTES: usize = 16;

/// The first two pages are for meta; the one of the later transaction counts.
pub(super) const META_PAGES: u64 = 2;
pub(super) const META_BYTES: usize = 64;
const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// The checksum covers what stands before it.
const SUMMED_BYTES: usize = META_BYTES - 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) page_bytes: u32,
    /// Page of the bucket of all buckets.
    pub(super) root: u64,
    pub(super) free_list: u64,
    /// Pages of the file, used or not.
    pub(super) pages: u64,
    pub(super) transaction: u64,
}

impl Meta {
    /// Magic, version, page size, flags (`u32` each); root page, its sequence, page of the free
    /// list, count of pages, transaction, checksum (`u64` each).
    pub(super) fn encode(&self) -> [u8; META_BYTES] {
        let mut bytes = [0; META_BYTES];
        put_u32(&mut bytes, 0, MAGIC);
        put_u32(&mut bytes, 4, VERSION);
        put_u32(&mut bytes, 8, self.page_bytes);
        put_u64(&mut bytes, 16, self.root);
        put_u64(&mut bytes, 32, self.free_list);
        put_u64(&mut bytes, 40, self.pages);
        put_u64(&mut bytes, 48, self.transaction);
        let sum = fnv1a(&bytes[..SUMMED_BYTES]);
        put_u64(&mut bytes, SUMMED_BYTES, sum);
        bytes
    }

    /// `None`: it is none, or it is damaged.
    pub(super) fn decode(bytes: &[u8; META_BYTES]) -> Option<Meta> {
        let meta = Meta {
            page_bytes: get_u32(bytes, 8)?,
            root: get_u64(bytes, 16)?,
            free_list: get_u64(bytes, 32)?,
            pages: get_u64(bytes, 40)?,
            transaction: get_u64(bytes, 48)?,
        };
        let is_whole = get_u32(bytes, 0)? == MAGIC
            && get_u32(bytes, 4)? == VERSION
            && get_u64(bytes, SUMMED_BYTES)? == fnv1a(&bytes[..SUMMED_BYTES]);
        is_whole.then_some(meta)
    }
}

/// FNV-1a of 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, step)
}

pub(super) fn header(id: u64, kind: u16, count: u16, overflow: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    put_u64(&mut bytes, 0, id);
    bytes[8..10].copy_from_slice(&kind.to_le_bytes());
    bytes[10..12].copy_from_slice(&count.to_le_bytes());
    put_u32(&mut bytes, 12, overflow);
    bytes
}

/// `None`, here and below: `bytes` ends before.
pub(super) fn get_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

pub(super) fn get_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

pub(super) fn get_u64(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

pub(super) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn damaged(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged bbolt database: {what}"))
}
