//! The bytes of a snapshot: opaque records in checksummed blocks, and a trailer that proves that
//! nothing is missing. Byte by byte in `docs/format/snapshot.md`.
//!
//! A reader holds one block at a time, never asks for memory that the input has not backed with
//! bytes, and hands out a record only after its block's checksum was right. Whether the snapshot
//! is whole is known only when [`Reader::next`] has returned `None`: until then the caller must be
//! ready to throw away what it has read.

use std::io::{self, Read, Write};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use crc32fast::Hasher;

/// How every snapshot begins.
pub const MAGIC: [u8; 8] = *b"berthsnp";

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// A block is closed when it has reached this length; one record may make it longer.
pub const BLOCK_BYTES: usize = 64 << 10;

/// A longer record is refused, by writer and reader.
pub const RECORD_BYTES_MAX: usize = 256 << 20;

/// The length before each record in a block.
const RECORD_HEADER_BYTES: usize = 4;

/// One record after a payload that was just too short to be closed.
const PAYLOAD_BYTES_MAX: usize = BLOCK_BYTES - 1 + RECORD_HEADER_BYTES + RECORD_BYTES_MAX;
const _: () = assert!(PAYLOAD_BYTES_MAX <= u32::MAX as usize);

/// Magic, version, and their CRC32.
const HEADER_BYTES: usize = 16;

/// Kind, length of the payload, CRC32 of both and of the payload.
const FRAME_HEADER_BYTES: usize = 9;

const BLOCK: u8 = 1;
const TRAILER: u8 = 2;
const TRAILER_PAYLOAD_BYTES: usize = 12;

/// Writes a snapshot. Without [`Writer::finish`] it stays one that no reader accepts.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// The records of the open block.
    payload: BytesMut,
    records: u64,
    /// Of everything written so far.
    total: Hasher,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// Those of `out`, here and below.
    pub fn new(out: W) -> io::Result<Self> {
        let mut writer = Self {
            out,
            payload: BytesMut::with_capacity(BLOCK_BYTES),
            records: 0,
            total: Hasher::new(),
        };
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.put_slice(&MAGIC);
        header.put_u32(VERSION);
        header.put_u32(crc32fast::hash(&header));
        writer.write_all(&header)?;
        Ok(writer)
    }

    /// Adds a record: `parts` one after the other. It may be empty.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] above [`RECORD_BYTES_MAX`]; nothing was written then.
    pub fn record(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let len = parts.iter().map(|part| part.len()).sum();
        if len > RECORD_BYTES_MAX {
            let text = format!("a record of {len} bytes is too long for a snapshot");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.payload.put_u32(len_u32(len));
        for part in parts {
            self.payload.put_slice(part);
        }
        self.records += 1;
        if self.payload.len() >= BLOCK_BYTES { self.close_block() } else { Ok(()) }
    }

    /// Writes what is left and the trailer, and flushes `out`.
    ///
    /// # Errors
    /// Those of `out`; what was written is then no snapshot.
    pub fn finish(mut self) -> io::Result<W> {
        if !self.payload.is_empty() {
            self.close_block()?;
        }
        let mut payload = Vec::with_capacity(TRAILER_PAYLOAD_BYTES);
        payload.put_u64(self.records);
        payload.put_u32(self.total.clone().finalize());
        self.frame(TRAILER, &payload)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn close_block(&mut self) -> io::Result<()> {
        let payload = std::mem::take(&mut self.payload);
        self.frame(BLOCK, &payload)?;
        self.payload = payload;
        self.payload.clear();
        Ok(())
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let mut header = [0; FRAME_HEADER_BYTES];
        let mut fields = &mut header[..];
        fields.put_u8(kind);
        fields.put_u32(len_u32(payload.len()));
        fields.put_u32(frame_crc(kind, payload));
        self.write_all(&header)?;
        self.write_all(payload)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.total.update(bytes);
        self.out.write_all(bytes)
    }
}

/// Reads a snapshot to the end of `source`.
///
/// Errors are of kind [`io::ErrorKind::UnexpectedEof`] for one that is cut short,
/// [`io::ErrorKind::Unsupported`] for another version, [`io::ErrorKind::InvalidData`] for any
/// other damage; all else comes from `source`. After an error or the end, only the end follows.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    /// What is left of the current block.
    payload: Bytes,
    records: u64,
    /// Of everything read so far.
    total: Hasher,
    done: bool,
    /// The source goes on behind the trailer, with what is no business of the snapshot.
    is_embedded: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// As above.
    pub fn new(source: R) -> io::Result<Self> {
        Self::open(source, false)
    }

    /// The same for a snapshot that something follows: nothing behind the trailer is read.
    ///
    /// # Errors
    /// As above.
    pub fn embedded(source: R) -> io::Result<Self> {
        Self::open(source, true)
    }

    fn open(source: R, is_embedded: bool) -> io::Result<Self> {
        let (payload, total) = (Bytes::new(), Hasher::new());
        let mut reader = Self { source, payload, records: 0, total, done: false, is_embedded };
        let header = reader.read_array::<HEADER_BYTES>()?;
        let mut fields = &header[..];
        if fields.copy_to_bytes(MAGIC.len()) != MAGIC[..] {
            return Err(damaged("this is no snapshot: its first bytes are others"));
        }
        let version = fields.get_u32();
        if fields.get_u32() != crc32fast::hash(&header[..HEADER_BYTES - 4]) {
            return Err(damaged("the header's checksum is wrong"));
        }
        if version != VERSION {
            let text = format!("snapshot of version {version}; this program reads {VERSION}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        Ok(reader)
    }

    /// The next record, or `None` once the trailer has proved that these were all. A record keeps
    /// its whole block in memory.
    ///
    /// # Errors
    /// As above.
    #[expect(clippy::should_implement_trait, reason = "the end must be told from an error")]
    pub fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.done {
            return Ok(None);
        }
        // Until the record is whole, whatever goes wrong is the end.
        self.done = true;
        if self.payload.is_empty() && !self.read_frame()? {
            return Ok(None);
        }
        let len =
            self.payload.try_get_u32().map_err(|_| damaged("a block ends within a record"))?;
        let len = len as usize;
        if len > self.payload.len() {
            return Err(damaged("a record is longer than its block"));
        }
        self.records += 1;
        self.done = false;
        Ok(Some(self.payload.split_to(len)))
    }

    /// Reads a block into `payload`, or (`false`) the trailer and the end.
    fn read_frame(&mut self) -> io::Result<bool> {
        let before = (self.records, self.total.clone().finalize());
        let header = self.read_array::<FRAME_HEADER_BYTES>()?;
        let mut fields = &header[..];
        let (kind, len, crc) = (fields.get_u8(), fields.get_u32() as usize, fields.get_u32());
        let fits = match kind {
            BLOCK => (RECORD_HEADER_BYTES..=PAYLOAD_BYTES_MAX).contains(&len),
            TRAILER => len == TRAILER_PAYLOAD_BYTES,
            _ => return Err(damaged("a block is of an unknown kind")),
        };
        if !fits {
            return Err(damaged("the length of a block is impossible"));
        }
        let mut payload = self.read_payload(len)?;
        if crc != frame_crc(kind, &payload) {
            return Err(damaged("the checksum of a block is wrong"));
        }
        if kind == BLOCK {
            self.payload = payload;
            return Ok(true);
        }
        if (payload.get_u64(), payload.get_u32()) != before {
            return Err(damaged("the trailer belongs to other records"));
        }
        if !self.is_embedded && self.source.by_ref().take(1).read_to_end(&mut Vec::new())? != 0 {
            return Err(damaged("something follows the trailer"));
        }
        Ok(false)
    }

    fn read_array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(cut_short)?;
        self.total.update(&bytes);
        Ok(bytes)
    }

    /// How many records have been handed out.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// `len` is not to be trusted: memory grows with the bytes that come.
    fn read_payload(&mut self, len: usize) -> io::Result<Bytes> {
        let mut payload = Vec::with_capacity(len.min(BLOCK_BYTES + RECORD_HEADER_BYTES));
        self.source.by_ref().take(len as u64).read_to_end(&mut payload)?;
        if payload.len() < len {
            return Err(cut_short(io::ErrorKind::UnexpectedEof.into()));
        }
        self.total.update(&payload);
        Ok(payload.into())
    }
}

fn frame_crc(kind: u8, payload: &[u8]) -> u32 {
    let mut crc = Hasher::new();
    crc.update(&[kind]);
    crc.update(&len_u32(payload.len()).to_be_bytes());
    crc.update(payload);
    crc.finalize()
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("PAYLOAD_BYTES_MAX fits, and no record makes a block longer")
}

fn damaged(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged snapshot: {text}"))
}

fn cut_short(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::UnexpectedEof {
        return error;
    }
    io::Error::new(error.kind(), "damaged snapshot: it ends before its trailer")
}

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
#[cfg(test)]
mod tests;
