//! One record of a segment: a header of 32 bytes, a payload, padding. See `docs/format/wal.md`.

use super::header::{ALIGN_BYTES, len_u32, u32_at, u64_at};
use super::options::{LOG_ID_BYTES_MAX, RECORD_BYTES_MAX};
use std::ops::Range;
use store::planted::{self, Mistake};

/// Bytes of a record before its payload.
pub(super) const RECORD_HEADER_BYTES: usize = 32;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The payload is the vote from here on.
    Vote = 1,
    /// The payload is a log id and an entry.
    Entry = 2,
    /// The next entry has this index: every entry at or above it is gone.
    Next = 3,
    /// Every entry up to and with this index is gone; the payload is the log id of the last.
    Purge = 4,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Vote, Kind::Entry, Kind::Next, Kind::Purge]
            .into_iter()
            .find(|&kind| kind as u8 == byte)
    }
}

/// A record to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) index: u64,
    pub(super) log_id: &'a [u8],
    pub(super) data: &'a [u8],
}

impl Record<'_> {
    /// Bytes that the record takes in the segment.
    pub(super) fn encoded_len(&self) -> usize {
        padded_len(self.log_id.len() + self.data.len())
    }
}

/// A record that was found in a segment and is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) index: u64,
    pub(super) log_id: Range<usize>,
    pub(super) data: Range<usize>,
    /// Where the write that it came with began in its segment.
    pub(super) batch: usize,
    /// Where the record after it begins.
    pub(super) end: usize,
}

/// The start of every CRC in one segment.
#[derive(Debug, Clone)]
pub(super) struct Salt(crc32fast::Hasher);

impl Salt {
    pub(super) fn new(salt: u64) -> Salt {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&salt.to_le_bytes());
        Salt(hasher)
    }

    /// Over where the record lies and all of its header: a header that was moved does not pass.
    fn header_crc(&self, header: &[u8], at: usize) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(&(at as u64).to_le_bytes());
        hasher.update(&header[4..RECORD_HEADER_BYTES]);
        hasher.finalize()
    }

    /// Over index, kind, log id length and payload.
    fn payload_crc(&self, header: &[u8], log_id: &[u8], data: &[u8]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(&header[16..RECORD_HEADER_BYTES]);
        hasher.update(log_id);
        hasher.update(data);
        hasher.finalize()
    }
}

/// Appends a record that will lie at byte `at` of its segment, in a write that begins at `batch`.
pub(super) fn encode(
    buffer: &mut Vec<u8>,
    salt: &Salt,
    at: usize,
    batch: usize,
    record: Record<'_>,
) {
    let length = record.log_id.len() + record.data.len();
    assert!(length <= RECORD_BYTES_MAX && record.log_id.len() <= LOG_ID_BYTES_MAX);
    let log_id_len = u16::try_from(record.log_id.len()).expect("asserted just above");
    let mut header = [0; RECORD_HEADER_BYTES];
    header[8..12].copy_from_slice(&len_u32(length).to_le_bytes());
    header[12..16].copy_from_slice(&len_u32(batch).to_le_bytes());
    header[16..24].copy_from_slice(&record.index.to_le_bytes());
    header[24] = record.kind as u8;
    header[26..28].copy_from_slice(&log_id_len.to_le_bytes());
    let payload_crc = salt.payload_crc(&header, record.log_id, record.data);
    header[4..8].copy_from_slice(&payload_crc.to_le_bytes());
    let header_crc = salt.header_crc(&header, at);
    header[..4].copy_from_slice(&header_crc.to_le_bytes());
    let end = buffer.len() + record.encoded_len();
    buffer.extend_from_slice(&header);
    buffer.extend_from_slice(record.log_id);
    buffer.extend_from_slice(record.data);
    buffer.resize(end, 0);
}

/// The whole record at byte `at` of a segment; `None` if there is none. `window` holds the bytes of
/// the segment from `window_at` on; the ranges found count within the window.
pub(super) fn decode(window: &[u8], window_at: usize, at: usize, salt: &Salt) -> Option<Found> {
    let start = at.checked_sub(window_at)?;
    let header = valid_header(window, window_at, at, salt)?;
    let length = u32_at(header, 8) as usize;
    let log_id_end = start + RECORD_HEADER_BYTES + usize::from(log_id_len(header));
    let data_end = start + RECORD_HEADER_BYTES + length;
    let end = start + padded_len(length);
    if length > RECORD_BYTES_MAX || log_id_end > data_end || end > window.len() {
        return None;
    }
    let (log_id, data) = (start + RECORD_HEADER_BYTES..log_id_end, log_id_end..data_end);
    let payload_crc = salt.payload_crc(header, &window[log_id.clone()], &window[data.clone()]);
    let padding_is_zero = window[data_end..end].iter().all(|&byte| byte == 0);
    let is_whole = payload_crc == u32_at(header, 4) && padding_is_zero;
    if !is_whole && !planted::is(Mistake::SkipCrc) {
        return None;
    }
    let kind = Kind::from_byte(header[24])?;
    let (index, batch) = (u64_at(header, 16), u32_at(header, 12) as usize);
    Some(Found { kind, index, log_id, data, batch, end: window_at + end })
}

/// If a header of this segment lies at `at`: where the write that it came with began.
pub(super) fn batch_of(segment: &[u8], at: usize, salt: &Salt) -> Option<usize> {
    let reserved = segment.get(at + 24..at + RECORD_HEADER_BYTES)?;
    // Most of what a search looks at is refused here, before any CRC.
    if reserved[0] == 0 || reserved[1] != 0 || reserved[4..] != [0; 4] {
        return None;
    }
    valid_header(segment, 0, at, salt).map(|header| u32_at(header, 12) as usize)
}

fn valid_header<'a>(
    window: &'a [u8],
    window_at: usize,
    at: usize,
    salt: &Salt,
) -> Option<&'a [u8]> {
    let start = at.checked_sub(window_at)?;
    let header = window.get(start..start.checked_add(RECORD_HEADER_BYTES)?)?;
    (salt.header_crc(header, at) == u32_at(header, 0)).then_some(header)
}

fn log_id_len(header: &[u8]) -> u16 {
    u16::from_le_bytes([header[26], header[27]])
}

/// Bytes of a record with a payload of this length.
pub(super) fn padded_len(length: usize) -> usize {
    (RECORD_HEADER_BYTES + length).next_multiple_of(ALIGN_BYTES)
}
