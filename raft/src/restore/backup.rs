//! The file that is restored from: a snapshot file, zeros, and the SHA-256 of both
//! (`docs/format/backup.md`).

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use store::snapshot::Summary;

use crate::codec;
use crate::error::Error;
use crate::snapshot::SnapshotHeader;

/// What etcd's own snapshots have at [`BBOLT_OFFSET`]: bbolt's magic, in little endian.
const BBOLT_MAGIC: [u8; 4] = [0xed, 0xda, 0x0c, 0xed];
const BBOLT_OFFSET: usize = 16;

/// What the length without the SHA-256 is a multiple of.
pub(super) const ALIGNMENT_BYTES: u64 = 512;
const DIGEST_BYTES: usize = 32;

const READ_BYTES: usize = 256 << 10;

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// CRC32 of all records in it.
    pub hash: u32,
    pub revision: i64,
    /// Records of every kind: versions of keys, leases, users and the rest.
    pub records: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Reads the whole file and verifies every checksum in it; one that is not there is not missed.
/// Blocks for as long as that takes.
///
/// # Errors
/// [`Error::Refused`] says what is wrong with it.
pub fn inspect(path: &Path) -> Result<BackupSummary, Error> {
    let mut source = Source::open(path)?;
    let summary = store::snapshot::summarize(&mut source.state).map_err(|e| source.refuse(&e))?;
    source.finish(&summary, |ending| matches!(ending, Ending::Right | Ending::Nothing))
}

/// A backup file, open behind its header.
pub(super) struct Source {
    path: PathBuf,
    pub(super) header: SnapshotHeader,
    pub(super) state: Digested,
}

/// What stands behind the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The SHA-256 of all before it.
    Right,
    Wrong,
    CutShort,
    Nothing,
}

/// Counts and digests what is read.
pub(super) struct Digested {
    from: Box<dyn Read>,
    digest: Sha256,
    bytes: u64,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Source, Error> {
        let cannot = |error: io::Error| refused(path, &format!("cannot be read: {error}"));
        let mut file = File::open(path).map_err(cannot)?;
        let start_len = BBOLT_OFFSET + BBOLT_MAGIC.len();
        let mut start = Vec::with_capacity(start_len);
        file.by_ref().take(start_len as u64).read_to_end(&mut start).map_err(cannot)?;
        if start[BBOLT_OFFSET.min(start.len())..] == BBOLT_MAGIC {
            return Err(refused(
                path,
                "is a snapshot of etcd (a bbolt database): `berth snapshot import` converts it",
            ));
        }
        let from = Cursor::new(start).chain(BufReader::with_capacity(READ_BYTES, file));
        Source::read(path, Box::new(from))
    }

    /// From anything that reads; `path` is for messages.
    pub(super) fn read(path: &Path, from: Box<dyn Read>) -> Result<Source, Error> {
        let mut state = Digested { from, digest: Sha256::new(), bytes: 0 };
        let (header, _) = SnapshotHeader::read(&mut state).map_err(|error| {
            let what = match error.kind() {
                io::ErrorKind::UnexpectedEof => "is cut short: it ends in its header".into(),
                io::ErrorKind::InvalidData => {
                    format!("is no backup of berth, or damaged ({error})")
                }
                _ => format!("cannot be read: {error}"),
            };
            refused(path, &what)
        })?;
        Ok(Source { path: path.to_owned(), header, state })
    }

    /// In the words of whoever has this file in hand.
    pub(super) fn refuse(&self, error: &io::Error) -> Error {
        let what = match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("is cut short ({error})"),
            io::ErrorKind::InvalidData => format!("is damaged ({error})"),
            _ => format!("cannot be restored: {error}"),
        };
        refused(&self.path, &what)
    }

    /// Checks what follows the snapshot that `read` was of, and that the two parts of the file
    /// belong together.
    pub(super) fn finish(
        mut self,
        read: &Summary,
        accept: impl FnOnce(Ending) -> bool,
    ) -> Result<BackupSummary, Error> {
        let log_id = codec::log_id_at(&read.position).map_err(|error| self.refuse(&error))?;
        if log_id != self.header.log_id() {
            return Err(refused(&self.path, "is damaged: header and state are of different times"));
        }
        let ending = self.state.ending().map_err(|error| self.refuse(&error))?;
        if !accept(ending) {
            return Err(refused(&self.path, ending.complaint()));
        }
        Ok(BackupSummary {
            hash: read.crc,
            revision: read.revision,
            records: read.records,
            bytes: self.state.bytes,
        })
    }
}

impl Ending {
    fn complaint(self) -> &'static str {
        match self {
            Ending::Nothing => {
                "has no SHA-256 at its end: it is cut short there, or was not made by `snapshot \
                 save` (then use --skip-hash-check)"
            }
            Ending::CutShort => "is cut short: the SHA-256 at its end is not whole",
            _ => "is damaged: it does not match the SHA-256 at its end (hash mismatch)",
        }
    }
}

impl Digested {
    fn ending(&mut self) -> io::Result<Ending> {
        let zeros = self.bytes.next_multiple_of(ALIGNMENT_BYTES) - self.bytes;
        let mut rest = Vec::new();
        // One byte more than there may be shows that there is more.
        let len = zeros + DIGEST_BYTES as u64;
        self.from.by_ref().take(len + 1).read_to_end(&mut rest)?;
        self.bytes += rest.len() as u64;
        let Some((zeros, digest)) = rest.split_last_chunk::<DIGEST_BYTES>() else {
            return Ok(if rest.is_empty() { Ending::Nothing } else { Ending::CutShort });
        };
        self.digest.update(zeros);
        let is_right = self.digest.finalize_reset().as_slice() == digest;
        Ok(match (rest.len() as u64).cmp(&len) {
            Ordering::Less => Ending::CutShort,
            Ordering::Equal if is_right => Ending::Right,
            _ => Ending::Wrong,
        })
    }
}

impl Read for Digested {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.digest.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

fn refused(path: &Path, what: &str) -> Error {
    Error::Refused(format!("{} {what}", path.display()))
}
