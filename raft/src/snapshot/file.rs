//! One snapshot file.
//!
//! ```text
//! 0    8  magic "BERTHSNP"
//! 8    4  version, u32 big endian (1)
//! 12   4  length n of the header, u32 big endian
//! 16   n  header: HeaderRecord, protobuf
//! 16+n 4  crc32 of bytes 0..16+n, u32 big endian
//! 20+n .. the state, as `store::Snapshot::write_to` streams it, with checksums of its own
//! ```

use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::SnapshotMeta as OpenraftMeta;
use prost::Message;

use super::incoming::Unadopted;
use crate::codec;
use crate::types::{LogId, SnapshotMeta};
use crate::vfs::File;

const MAGIC: &[u8; 8] = b"BERTHSNP";
const VERSION: u32 = 1;

/// No header is longer: more is damage.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// Bytes written between two syncs.
pub(super) const SYNC_BYTES: u64 = 4 << 20;

/// One read of the file.
const READ_BYTES: usize = 256 << 10;

/// Which state a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotHeader {
    pub(crate) cluster_id: u64,
    pub(crate) meta: SnapshotMeta,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderRecord {
    #[prost(fixed64, tag = "1")]
    cluster_id: u64,
    /// The last log id that is in the state; empty: none.
    #[prost(bytes = "bytes", tag = "2")]
    log_id: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    membership: Bytes,
}

/// A finished snapshot, open for reading.
///
/// It stays readable while it is held, also after its name was removed.
#[derive(Clone)]
pub(crate) struct SnapshotFile {
    path: PathBuf,
    file: Arc<dyn File>,
    header: SnapshotHeader,
    /// Where the state begins.
    body_offset: u64,
    /// Of one that another node sent and that was not adopted yet.
    unadopted: Option<Arc<Unadopted>>,
}

impl SnapshotHeader {
    pub(crate) fn log_id(&self) -> Option<LogId> {
        self.meta.last_log_id
    }

    /// The index of the last log entry in it; `None`: it holds the empty state.
    pub(crate) fn index(&self) -> Option<u64> {
        self.log_id().map(|log_id| log_id.index)
    }

    /// Up to and with the checksum.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let record = HeaderRecord {
            cluster_id: self.cluster_id,
            log_id: self.meta.last_log_id.as_ref().map(codec::encode_log_id).unwrap_or_default(),
            membership: codec::encode_stored_membership(&self.meta.last_membership),
        };
        SnapshotHeader::framed(&record.encode_to_vec())
    }

    /// The record between magic and checksum.
    pub(crate) fn framed(record: &[u8]) -> Vec<u8> {
        let length = u32::try_from(record.len()).expect("a membership is far below 4 GiB");
        let mut out = Vec::with_capacity(20 + record.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(record);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    /// The header, and how many bytes it took.
    pub(crate) fn read(from: &mut dyn Read) -> io::Result<(SnapshotHeader, u64)> {
        let mut bytes = vec![0; 16];
        from.read_exact(&mut bytes)?;
        if &bytes[..8] != MAGIC {
            return Err(damaged("not a snapshot"));
        }
        match word(&bytes[8..12]) {
            VERSION => {}
            newer if newer > VERSION => {
                let what = format!("snapshot of version {newer}; this berth reads {VERSION}");
                return Err(io::Error::new(io::ErrorKind::Unsupported, what));
            }
            _ => return Err(damaged("snapshot version")),
        }
        let length = word(&bytes[12..16]) as usize;
        if length > HEADER_BYTES_MAX {
            return Err(damaged("snapshot header"));
        }
        bytes.resize(16 + length + 4, 0);
        from.read_exact(&mut bytes[16..])?;
        let (checked, crc) = bytes.split_at(16 + length);
        if crc32fast::hash(checked) != word(crc) {
            return Err(damaged("snapshot header"));
        }
        let record =
            HeaderRecord::decode(&checked[16..]).map_err(|_| damaged("snapshot header"))?;
        let last_log_id = match record.log_id.as_ref() {
            [] => None,
            bytes => Some(codec::decode_log_id(bytes)?),
        };
        let last_membership = codec::decode_stored_membership(Some(&record.membership))?;
        let meta = OpenraftMeta { last_log_id, last_membership };
        Ok((SnapshotHeader { cluster_id: record.cluster_id, meta }, bytes.len() as u64))
    }
}

impl SnapshotFile {
    /// Checks the header; the state is checked where it is read.
    pub(super) fn open(path: &Path, file: Arc<dyn File>) -> io::Result<SnapshotFile> {
        let mut start = Cursor { file: &*file, offset: 0 };
        let (header, body_offset) = SnapshotHeader::read(&mut start)?;
        let path = path.to_owned();
        Ok(SnapshotFile { path, file, header, body_offset, unadopted: None })
    }

    /// The same for one that came from another node.
    pub(super) fn received(
        file: Arc<dyn File>,
        unadopted: Arc<Unadopted>,
    ) -> io::Result<SnapshotFile> {
        let opened = SnapshotFile::open(unadopted.path(), file)?;
        Ok(SnapshotFile { unadopted: Some(unadopted), ..opened })
    }

    /// It came from another node, and is to be adopted.
    pub(super) fn is_incoming(&self) -> bool {
        self.unadopted.is_some()
    }

    pub(crate) fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    pub(crate) fn meta(&self) -> &SnapshotMeta {
        &self.header.meta
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The index of the last log entry in it; `None`: it holds the empty state.
    pub(crate) fn index(&self) -> Option<u64> {
        self.header.index()
    }

    /// Bytes of the whole file.
    pub(crate) fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// The bytes of the file from `offset`, at most `len_max`; empty at its end.
    pub(crate) fn piece(&self, offset: u64, len_max: usize) -> io::Result<Bytes> {
        let mut piece = vec![0; len_max];
        let count = self.file.read_at(&mut piece, offset)?;
        piece.truncate(count);
        Ok(piece.into())
    }

    /// Reads every byte of it. Blocks.
    ///
    /// # Errors
    /// `InvalidData`: it is damaged, or cannot be read.
    pub(crate) fn verify(&self) -> io::Result<()> {
        let damaged = |why: &dyn std::fmt::Display| {
            io::Error::new(io::ErrorKind::InvalidData, format!("the snapshot: {why}"))
        };
        let again = SnapshotFile::open(self.path(), self.file.clone())?;
        if again.header != self.header {
            return Err(damaged(&"its header has changed"));
        }
        store::verify_snapshot(&mut self.read_state()).map_err(|error| damaged(&error))
    }

    /// The state in it, for [`store::Store::restore`].
    pub(crate) fn read_state(&self) -> impl Read + '_ {
        let start = Cursor { file: &*self.file, offset: self.body_offset };
        BufReader::with_capacity(READ_BYTES, start)
    }
}

impl std::fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SnapshotFile({})", self.path.display())
    }
}

struct Cursor<'a> {
    file: &'a dyn File,
    offset: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Appends to a new file, and syncs as it goes: one sync of all of it at the end would hold up the
/// log's own syncs meanwhile.
pub(super) struct Appender<'a> {
    file: &'a dyn File,
    offset: u64,
    synced: u64,
}

impl Appender<'_> {
    pub(super) fn new(file: &dyn File) -> Appender<'_> {
        Appender { file, offset: 0, synced: 0 }
    }
}

impl Write for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        if self.offset - self.synced >= SYNC_BYTES {
            self.file.sync_data()?;
            self.synced = self.offset;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::CommittedLeaderId;

    #[test]
    fn the_header_on_disk_does_not_change() {
        // Proves the format against bytes written down once: older snapshots stay readable.
        let log_id = LogId { leader_id: CommittedLeaderId::new(2), index: 5 };
        let meta = SnapshotMeta { last_log_id: Some(log_id), ..SnapshotMeta::default() };
        let header = SnapshotHeader { cluster_id: 0xc1, meta };
        let bytes = header.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "4245525448534e50000000010000001f\
             09c1000000000000001210000000000000000200000000000000\
             05\
             1a021200169432c2"
        );
        assert_eq!(SnapshotHeader::read(&mut &bytes[..]).unwrap(), (header, bytes.len() as u64));
    }
}
