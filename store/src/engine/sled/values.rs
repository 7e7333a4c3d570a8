//! How keys and values lie in the tree.
//!
//! A leaf holds a fixed number of entries, whatever their size, and is read and written as a
//! whole; so a long value is cut in pieces of [`INLINE_BYTES_MAX`] and its entry says only how long
//! it is. The two kinds of stored key differ in their first byte:
//!
//! | stored key | stored value |
//! |---|---|
//! | `00` key | `00` value |
//! | `00` key | `01`, length (u32, big endian), CRC32 (u32, big endian) of a value in pieces |
//! | `01`, length of key (u32, big endian), key, number of the piece (u32, big endian) | piece |

use std::io;

use bytes::{BufMut, Bytes, BytesMut};

use super::Tree;

/// Longer values are cut in pieces of this length.
pub(super) const INLINE_BYTES_MAX: usize = PIECE_BYTES as usize;
const PIECE_BYTES: u32 = 16 << 10;

const HEAD: u8 = 0;
const PIECE: u8 = 1;
const WHOLE: u8 = 0;
const CUT: u8 = 1;

/// Reads of a value that a writer replaces at the same time before it counts as damage.
const ATTEMPTS_MAX: usize = 1000;

pub(super) fn head_key(key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + key.len());
    stored.push(HEAD);
    stored.extend_from_slice(key);
    stored
}

/// The key that [`head_key`] was given.
pub(super) fn key_of(stored: &[u8]) -> io::Result<&[u8]> {
    match stored.split_first() {
        Some((&HEAD, key)) => Ok(key),
        _ => Err(damaged("a key of an unknown kind")),
    }
}

pub(super) fn get(tree: &Tree, key: &[u8]) -> io::Result<Option<Bytes>> {
    match tree.get(head_key(key))? {
        Some(head) => resolve(tree, key, &head),
        None => Ok(None),
    }
}

/// The value whose stored form is `head`, or a newer one, or `None` if the key went meanwhile.
pub(super) fn resolve(tree: &Tree, key: &[u8], head: &[u8]) -> io::Result<Option<Bytes>> {
    if let Head::Whole(value) = Head::decode(head)? {
        return Ok(Some(Bytes::copy_from_slice(value)));
    }
    let mut current = head.to_vec();
    for _ in 0..ATTEMPTS_MAX {
        let cut = match Head::decode(&current)? {
            Head::Whole(value) => return Ok(Some(Bytes::copy_from_slice(value))),
            Head::Cut(cut) => cut,
        };
        if let Some(value) = collect(tree, key, cut)? {
            return Ok(Some(value));
        }
        match tree.get(head_key(key))? {
            Some(head) => current = head.to_vec(),
            None => return Ok(None),
        }
    }
    Err(damaged("the pieces of a value do not fit together"))
}

/// Adds to `staged` what makes `key` have `value` (`None`: be gone).
pub(super) fn stage(
    tree: &Tree,
    staged: &mut sled::Batch,
    key: &[u8],
    value: Option<&[u8]>,
) -> io::Result<()> {
    let stored_key = head_key(key);
    let pieces_before = match tree.get(&stored_key)? {
        Some(head) => Head::decode(&head)?.pieces(),
        None => 0,
    };
    let mut pieces = 0;
    match value {
        None => staged.remove(stored_key),
        Some(value) if value.len() <= INLINE_BYTES_MAX => {
            let mut stored = Vec::with_capacity(1 + value.len());
            stored.push(WHOLE);
            stored.extend_from_slice(value);
            staged.insert(stored_key, stored);
        }
        Some(value) => {
            staged.insert(stored_key, Cut::of(value)?.encode());
            for piece in value.chunks(INLINE_BYTES_MAX) {
                staged.insert(piece_key(key, pieces)?, piece);
                pieces += 1;
            }
        }
    }
    for gone in pieces..pieces_before {
        staged.remove(piece_key(key, gone)?);
    }
    Ok(())
}

enum Head<'a> {
    Whole(&'a [u8]),
    Cut(Cut),
}

#[derive(Clone, Copy)]
struct Cut {
    len: u32,
    crc: u32,
}

impl Head<'_> {
    fn decode(stored: &[u8]) -> io::Result<Head<'_>> {
        match stored {
            [WHOLE, value @ ..] => Ok(Head::Whole(value)),
            [CUT, l0, l1, l2, l3, c0, c1, c2, c3] => Ok(Head::Cut(Cut {
                len: u32::from_be_bytes([*l0, *l1, *l2, *l3]),
                crc: u32::from_be_bytes([*c0, *c1, *c2, *c3]),
            })),
            _ => Err(damaged("a value of an unknown kind")),
        }
    }

    fn pieces(&self) -> u32 {
        match self {
            Head::Whole(_) => 0,
            Head::Cut(cut) => cut.pieces(),
        }
    }
}

impl Cut {
    fn of(value: &[u8]) -> io::Result<Self> {
        let len = u32::try_from(value.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        Ok(Self { len, crc: crc32fast::hash(value) })
    }

    fn encode(self) -> Vec<u8> {
        let mut stored = Vec::with_capacity(9);
        stored.put_u8(CUT);
        stored.put_u32(self.len);
        stored.put_u32(self.crc);
        stored
    }

    fn pieces(self) -> u32 {
        self.len.div_ceil(PIECE_BYTES)
    }
}

/// The value in pieces that `cut` describes, or `None` if the pieces are of another one.
fn collect(tree: &Tree, key: &[u8], cut: Cut) -> io::Result<Option<Bytes>> {
    let mut value = BytesMut::new();
    for number in 0..cut.pieces() {
        match tree.get(piece_key(key, number)?)? {
            Some(piece) => value.extend_from_slice(&piece),
            None => return Ok(None),
        }
    }
    let fits = value.len() as u64 == u64::from(cut.len) && crc32fast::hash(&value) == cut.crc;
    Ok(fits.then(|| value.freeze()))
}

fn piece_key(key: &[u8], number: u32) -> io::Result<Vec<u8>> {
    let key_len = u32::try_from(key.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut stored = Vec::with_capacity(9 + key.len());
    stored.put_u8(PIECE);
    stored.put_u32(key_len);
    stored.extend_from_slice(key);
    stored.put_u32(number);
    Ok(stored)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
