//! Segments on disk: the ones that are read, and how a new one comes to be.

use super::error::{Error, ErrorKind};
use super::header::{Header, len_u32};
use super::index::{Index, Slot};
use super::options::Options;
use super::record::{self, Kind, Record, Salt};
use crate::vfs::{File, Vfs};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A new segment has this name until it is whole and synced.
pub(super) const UNFINISHED_NAME: &str = "next.tmp";

/// The directory of the log and how it is written.
pub(super) struct Disk {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) dir: PathBuf,
    pub(super) options: Options,
}

/// A segment that can be read.
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) file: Arc<dyn File>,
    pub(super) salt: Salt,
    pub(super) sequence: u64,
    /// The stream's position of its first byte: what all segments since the opening held.
    pub(super) position: u64,
}

/// The segments from the oldest that is needed to the one being written.
pub(super) struct Segments {
    /// The sequence that slots count from.
    origin: u64,
    list: VecDeque<Arc<Segment>>,
    /// Where the records of the last segment end, in bytes.
    pub(super) end: u64,
}

impl Segments {
    pub(super) fn new(first: Segment, end: u64) -> Segments {
        Segments { origin: first.sequence, list: VecDeque::from([Arc::new(first)]), end }
    }

    /// Adds the segment after the last.
    pub(super) fn push(&mut self, mut segment: Segment, end: u64) {
        let last = self.last();
        assert_eq!(segment.sequence, last.sequence + 1, "segments are numbered without gap");
        segment.position = last.position + self.end;
        self.list.push_back(Arc::new(segment));
        self.end = end;
    }

    pub(super) fn last(&self) -> &Arc<Segment> {
        self.list.back().expect("a log has at least the segment that is written")
    }

    /// What slots call the last segment.
    pub(super) fn last_number(&self) -> u32 {
        u32::try_from(self.last().sequence - self.origin).expect("fewer than 2^32 segments")
    }

    /// The segment of a slot.
    pub(super) fn of(&self, slot: Slot) -> Option<&Arc<Segment>> {
        let oldest = self.list.front()?.sequence - self.origin;
        let nth = u64::from(slot.segment).checked_sub(oldest)?;
        self.list.get(usize::try_from(nth).ok()?)
    }

    /// Takes out the oldest segments that hold no entry of the log. The last one stays.
    pub(super) fn take_unneeded(&mut self, index: &Index) -> Vec<Arc<Segment>> {
        let needed = index.first_slot().map_or(self.last_number(), |slot| slot.segment);
        let needed = self.origin + u64::from(needed);
        let mut unneeded = Vec::new();
        while self.list.len() > 1 && self.list[0].sequence < needed {
            unneeded.extend(self.list.pop_front());
        }
        unneeded
    }

    /// Bytes of the stream from the record of `slot` (without one: from the end) to the end.
    pub(super) fn bytes_from(&self, slot: Option<Slot>) -> u64 {
        let Some(slot) = slot else { return 0 };
        let Some(segment) = self.of(slot) else { return 0 };
        self.last().position + self.end - segment.position - u64::from(slot.offset)
    }
}

impl Disk {
    pub(super) fn sync_file(&self, file: &dyn File) -> io::Result<()> {
        if self.options.no_fsync { Ok(()) } else { file.sync_data() }
    }

    pub(super) fn sync_dir(&self) -> io::Result<()> {
        if self.options.no_fsync { Ok(()) } else { self.vfs.sync_dir(&self.dir) }
    }

    /// The salt of a segment of this opening: splitmix64 of the seed and the sequence.
    pub(super) fn salt_for(&self, sequence: u64) -> u64 {
        let mut mixed = self.options.salt_seed ^ sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// How long a file is made when its records end at `end`: zeros ahead, in whole steps.
    pub(super) fn allocated_len(&self, end: u64) -> u64 {
        end.next_multiple_of(self.options.allocate_bytes.max(1))
    }

    /// Creates a segment and makes it durable before its name shows up, with vote and purge mark at
    /// its head, so that it needs none of the segments before it for them. Returns the segment and
    /// where its records end.
    pub(super) fn create_segment(
        &self,
        header: &Header,
        index: &Index,
    ) -> Result<(Segment, u64), Error> {
        let salt = Salt::new(header.salt);
        let (bytes, end) = self.head(header, &salt, index);
        let name = header.file_name();
        let file = self
            .place_segment(&name, &bytes)
            .map_err(|error| self.io_error("cannot create segment", &name, &error))?;
        let segment = Segment { name, file, salt, sequence: header.sequence, position: 0 };
        Ok((segment, end))
    }

    fn head(&self, header: &Header, salt: &Salt, index: &Index) -> (Vec<u8>, u64) {
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        let batch = bytes.len();
        if let Some(vote) = &index.vote {
            let record = Record { kind: Kind::Vote, index: 0, log_id: &[], data: vote };
            record::encode(&mut bytes, salt, batch, batch, record);
        }
        if let Some((index, log_id)) = &index.purged {
            let record = Record { kind: Kind::Purge, index: *index, log_id, data: &[] };
            let at = bytes.len();
            record::encode(&mut bytes, salt, at, batch, record);
        }
        let end = bytes.len() as u64;
        let allocated = self.allocated_len(end);
        bytes.resize(usize::try_from(allocated).unwrap_or(bytes.len()), 0);
        (bytes, end)
    }

    fn place_segment(&self, name: &str, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
        let unfinished = self.dir.join(UNFINISHED_NAME);
        let file = self.vfs.create(&unfinished)?;
        file.write_at(bytes, 0)?;
        self.sync_file(&*file)?;
        self.vfs.rename(&unfinished, &self.dir.join(name))?;
        self.sync_dir()?;
        Ok(file)
    }

    /// Removes segments, oldest first. Each removal is durable before the next, so that a power
    /// failure never leaves a gap between the ones that remain.
    pub(super) fn remove_segments(&self, segments: &[Arc<Segment>]) -> Result<(), Error> {
        for segment in segments {
            self.vfs
                .remove(&self.dir.join(&segment.name))
                .and_then(|()| self.sync_dir())
                .map_err(|error| self.io_error("cannot remove segment", &segment.name, &error))?;
        }
        Ok(())
    }

    pub(super) fn io_error(&self, what: &str, name: &str, error: &io::Error) -> Error {
        let path = self.dir.join(name);
        Error::new(ErrorKind::Io, format!("{what} {}: {error}", path.display()))
    }

    pub(super) fn corrupt(&self, name: &str, why: impl std::fmt::Display) -> Error {
        let path = self.dir.join(name);
        Error::new(ErrorKind::Corrupt, format!("the log is corrupt: {}: {why}", path.display()))
    }
}

/// A slot for a record of the last segment.
pub(super) fn slot(segment: u32, offset: usize, len: usize) -> Slot {
    Slot { segment, offset: len_u32(offset), len: len_u32(len) }
}
