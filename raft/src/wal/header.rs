//! The header of a segment: the bytes at its start, and its file name. See `docs/format/wal.md`.

use super::options::METADATA_BYTES_MAX;
use bytes::Bytes;

pub(super) const MAGIC: [u8; 8] = *b"BERTHWAL";
pub(super) const VERSION: u32 = 1;
/// Header bytes before the metadata.
const FIXED_BYTES: usize = 64;
const CRC_AT: usize = 60;
/// More segments than any log will ever have.
const SEQUENCE_MAX: u64 = 1 << 48;
/// Records and the end of the header lie at multiples of this.
pub(super) const ALIGN_BYTES: usize = 8;

/// What a segment says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Segments are numbered from 1 without gap.
    pub(super) sequence: u64,
    /// The lowest index that the log could hold when the segment began.
    pub(super) first: u64,
    /// The index that the next entry had to have when the segment began.
    pub(super) next: u64,
    /// Where the records of the segment before this one end, in bytes; 0 for the first of all.
    pub(super) previous_end: u64,
    /// Goes into every CRC of the segment, so that no byte of another segment can pass for its own.
    pub(super) salt: u64,
    pub(super) metadata: Bytes,
}

/// Why bytes are not a header of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// Ours, but of this other version.
    Version(u32),
    Invalid(&'static str),
}

impl Header {
    /// No header is longer.
    pub(super) const BYTES_MAX: usize =
        (FIXED_BYTES + METADATA_BYTES_MAX).next_multiple_of(ALIGN_BYTES);

    /// Bytes of the encoded header: where the first record begins.
    pub(super) fn encoded_len(&self) -> usize {
        (FIXED_BYTES + self.metadata.len()).next_multiple_of(ALIGN_BYTES)
    }

    /// Appends the header to an empty buffer.
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        assert!(buffer.is_empty(), "a header is the first thing in a segment");
        assert!(self.metadata.len() <= METADATA_BYTES_MAX, "metadata is checked at creation");
        buffer.extend_from_slice(&MAGIC);
        buffer.extend_from_slice(&VERSION.to_le_bytes());
        buffer.extend_from_slice(&len_u32(self.encoded_len()).to_le_bytes());
        for field in [self.sequence, self.first, self.next, self.previous_end, self.salt] {
            buffer.extend_from_slice(&field.to_le_bytes());
        }
        buffer.extend_from_slice(&len_u32(self.metadata.len()).to_le_bytes());
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&self.metadata);
        buffer.resize(self.encoded_len(), 0);
        let crc = checksum(buffer).to_le_bytes();
        buffer[CRC_AT..FIXED_BYTES].copy_from_slice(&crc);
    }

    /// Reads the header at the start of `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Header, HeaderError> {
        if bytes.len() < FIXED_BYTES {
            return Err(HeaderError::Invalid("it is shorter than a header"));
        }
        if bytes[..8] != MAGIC {
            return Err(HeaderError::Invalid("it does not begin with the magic"));
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let header_len = u32_at(bytes, 12) as usize;
        let metadata_len = u32_at(bytes, 56) as usize;
        if metadata_len > METADATA_BYTES_MAX
            || header_len != (FIXED_BYTES + metadata_len).next_multiple_of(ALIGN_BYTES)
            || header_len > bytes.len()
        {
            return Err(HeaderError::Invalid("its header has impossible lengths"));
        }
        if checksum(&bytes[..header_len]) != u32_at(bytes, CRC_AT) {
            return Err(HeaderError::Invalid("the CRC of its header is wrong"));
        }
        let sequence = u64_at(bytes, 16);
        if sequence == 0 || sequence > SEQUENCE_MAX {
            return Err(HeaderError::Invalid("its sequence is impossible"));
        }
        Ok(Header {
            sequence,
            first: u64_at(bytes, 24),
            next: u64_at(bytes, 32),
            previous_end: u64_at(bytes, 40),
            salt: u64_at(bytes, 48),
            metadata: Bytes::copy_from_slice(&bytes[FIXED_BYTES..FIXED_BYTES + metadata_len]),
        })
    }

    /// The segment's file name.
    pub(super) fn file_name(&self) -> String {
        format!("{:016x}-{:016x}{SUFFIX}", self.sequence, self.next)
    }
}

pub(super) const SUFFIX: &str = ".wal";

/// Sequence and next index from a file name; `None` if it is not one of ours.
pub(super) fn parse_file_name(name: &str) -> Option<(u64, u64)> {
    let (sequence, next) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let hex = |text: &str| {
        let ours =
            text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        ours.then(|| u64::from_str_radix(text, 16).ok()).flatten()
    };
    Some((hex(sequence)?, hex(next)?))
}

fn checksum(header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..CRC_AT]);
    hasher.update(&header[FIXED_BYTES..]);
    hasher.finalize()
}

/// A length or offset within a segment, as the format stores it.
pub(super) fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("a segment stays below 4 GiB: see SEGMENT_BYTES_MAX")
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes[at..at + 4].try_into().expect("the slice has 4 bytes");
    u32::from_le_bytes(field)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let field = bytes[at..at + 8].try_into().expect("the slice has 8 bytes");
    u64::from_le_bytes(field)
}
