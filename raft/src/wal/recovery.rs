//! From segments on disk to the state they amount to.
//!
//! Only one kind of damage is repaired: a write at the very end that was never acknowledged. Each
//! record says where the write that it came with began; everything before that was synced before
//! the write was issued. So if a record is broken at X and any record behind X belongs to a write
//! that began behind X, then what lay at X was durable once and is lost now: that is fatal. If not,
//! X lies in the last write, which a power failure may have torn in any way: it is cut.

use super::error::{Error, ErrorKind};
use super::header::{ALIGN_BYTES, Header, HeaderError, VERSION, parse_file_name};
use super::index::{Index, Step};
use super::record::{self, Found, Kind, Salt};
use super::segment::{Disk, Segment, Segments, UNFINISHED_NAME, slot};
use bytes::Bytes;
use std::io;

/// What the segments amount to.
pub(super) struct Recovery {
    pub(super) index: Index,
    pub(super) segments: Segments,
    pub(super) metadata: Bytes,
    pub(super) torn_bytes: u64,
    /// Length of the last segment's file.
    pub(super) file_len: u64,
    /// The records of the last write, which nothing proves to be durable.
    pub(super) last_write: Vec<u8>,
}

/// Recovers the log in the directory, or creates it with `metadata` if there is none.
pub(super) fn open(disk: &Disk, metadata: Bytes) -> Result<Recovery, Error> {
    let names = segment_names(disk)?;
    let recovery = match names.split_first() {
        None => return create(disk, metadata),
        Some((first, rest)) => Replay::begin(disk, first)?.finish(rest)?,
    };
    settle(disk, &recovery)?;
    Ok(recovery)
}

/// The metadata of the log in the directory; `None` if there is none. Changes nothing.
pub(super) fn peek(disk: &Disk) -> Result<Option<Bytes>, Error> {
    let names = match disk.vfs.read_dir(&disk.dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        names => names.map_err(|error| disk.io_error("cannot read", "", &error))?,
    };
    let first = names.into_iter().filter(|name| parse_file_name(name).is_some()).min();
    let Some(name) = first else { return Ok(None) };
    let mut start = vec![0; Header::BYTES_MAX];
    let read = disk.vfs.open(&disk.dir.join(&name)).and_then(|file| file.read_at(&mut start, 0));
    let count = read.map_err(|error| disk.io_error("cannot read", &name, &error))?;
    let header = Header::decode(&start[..count]);
    Ok(Some(header.map_err(|error| header_error(disk, &name, error))?.metadata))
}

fn create(disk: &Disk, metadata: Bytes) -> Result<Recovery, Error> {
    let salt = disk.salt_for(1);
    let header = Header {
        sequence: 1,
        first: 0,
        next: 0,
        previous_end: 0,
        salt,
        metadata: metadata.clone(),
    };
    let index = Index::new(0, 0);
    let (segment, end) = disk.create_segment(&header, &index)?;
    Ok(Recovery {
        index,
        segments: Segments::new(segment, end),
        metadata,
        torn_bytes: 0,
        file_len: disk.allocated_len(end),
        last_write: Vec::new(),
    })
}

/// The names of the segments, in order, without gap.
fn segment_names(disk: &Disk) -> Result<Vec<String>, Error> {
    let names =
        disk.vfs.read_dir(&disk.dir).map_err(|error| disk.io_error("cannot read", "", &error))?;
    if names.iter().any(|name| name == UNFINISHED_NAME) {
        disk.vfs
            .remove(&disk.dir.join(UNFINISHED_NAME))
            .map_err(|error| disk.io_error("cannot remove", UNFINISHED_NAME, &error))?;
    }
    let mut segments: Vec<(u64, String)> = names
        .into_iter()
        .filter_map(|name| parse_file_name(&name).map(|(sequence, _)| (sequence, name)))
        .collect();
    segments.sort_unstable();
    for pair in segments.windows(2) {
        if pair[0].0.checked_add(1) != Some(pair[1].0) {
            let why = format!("a segment is missing between this and {}", pair[1].1);
            return Err(disk.corrupt(&pair[0].1, why));
        }
    }
    Ok(segments.into_iter().map(|(_, name)| name).collect())
}

/// Makes durable what was recovered before anyone relies on it: after the death of a process (not
/// of the machine) it may exist in the page cache alone. The last write is written again, because
/// its sync may have failed: the system then takes its pages for clean, and no later sync would
/// write them. A torn tail is overwritten by zeros, so that no record of it can ever fit behind a
/// later one.
fn settle(disk: &Disk, recovery: &Recovery) -> Result<(), Error> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let segment = recovery.segments.last();
    let write_and_sync = || {
        let mut at = recovery.segments.end;
        if !recovery.last_write.is_empty() {
            segment.file.write_at(&recovery.last_write, at - recovery.last_write.len() as u64)?;
        }
        while recovery.torn_bytes > 0 && at < recovery.file_len {
            let len =
                ZEROS.len().min(usize::try_from(recovery.file_len - at).unwrap_or(ZEROS.len()));
            segment.file.write_at(&ZEROS[..len], at)?;
            at += len as u64;
        }
        disk.sync_file(&*segment.file)?;
        disk.sync_dir()
    };
    write_and_sync().map_err(|error| disk.io_error("cannot settle segment", &segment.name, &error))
}

/// A replay under way, segment by segment.
struct Replay<'a> {
    disk: &'a Disk,
    index: Index,
    segments: Segments,
    header: Header,
    /// All bytes of the segment that is replayed; reused for the next.
    bytes: Vec<u8>,
    /// Where the last write that was replayed begins in it; without one, where its records end.
    last_write_at: usize,
}

impl<'a> Replay<'a> {
    fn begin(disk: &'a Disk, name: &str) -> Result<Replay<'a>, Error> {
        let mut bytes = Vec::new();
        let (header, segment) = load(disk, name, &mut bytes)?;
        let index = Index::new(header.first, header.next);
        let segments = Segments::new(segment, header.encoded_len() as u64);
        let last_write_at = header.encoded_len();
        Ok(Replay { disk, index, segments, header, bytes, last_write_at })
    }

    fn finish(mut self, rest: &[String]) -> Result<Recovery, Error> {
        for name in rest {
            self.records()?;
            let before = self.segments.last().name.clone();
            let left = self.bytes.len();
            let (header, segment) = load(self.disk, name, &mut self.bytes)?;
            self.check_join(&before, left, &header)?;
            let end = header.encoded_len() as u64;
            self.segments.push(segment, end);
            self.header = header;
        }
        self.records()?;
        let torn_bytes = self.torn_bytes()?;
        if let Some((from, to)) = self.index.missing() {
            let why = format!("the entries {from} to {} are missing before it", to - 1);
            return Err(self.disk.corrupt(&self.segments.last().name, why));
        }
        let end = usize::try_from(self.segments.end).expect("the end lies within the loaded bytes");
        Ok(Recovery {
            index: self.index,
            segments: self.segments,
            metadata: self.header.metadata,
            torn_bytes,
            file_len: self.bytes.len() as u64,
            last_write: self.bytes[self.last_write_at..end].to_vec(),
        })
    }

    /// A segment that is not the last was whole and synced before the next one came to be.
    fn check_join(&self, before: &str, left: usize, header: &Header) -> Result<(), Error> {
        let end = self.segments.end;
        if header.previous_end != end {
            let why = format!(
                "no valid record at byte {end} of {left}; its records ended at byte {}",
                header.previous_end
            );
            return Err(self.disk.corrupt(before, why));
        }
        let name = header.file_name();
        if header.metadata != self.header.metadata {
            return Err(self.disk.corrupt(&name, "it belongs to another member or cluster"));
        }
        if header.next != self.index.next() {
            let next = self.index.next();
            let why = format!("it goes on at index {}, not {next}", header.next);
            return Err(self.disk.corrupt(&name, why));
        }
        Ok(())
    }

    /// Applies the records of the loaded segment up to the first that is not whole.
    fn records(&mut self) -> Result<(), Error> {
        let number = self.segments.last_number();
        let salt = self.segments.last().salt.clone();
        let mut at = self.header.encoded_len();
        self.last_write_at = at;
        while let Some(found) = record::decode(&self.bytes, 0, at, &salt) {
            let step = step(&self.bytes, &found, number, at);
            self.index.apply(step).map_err(|why| {
                let name = &self.segments.last().name;
                self.disk.corrupt(name, format!("the record at byte {at}: {why}"))
            })?;
            at = found.end;
            self.last_write_at = found.batch;
        }
        self.segments.end = at as u64;
        Ok(())
    }

    /// Judges what lies behind the last whole record of the last segment: bytes of a torn write to
    /// be cut, or an error if something durable was lost there.
    fn torn_bytes(&self) -> Result<u64, Error> {
        let segment = self.segments.last();
        let end = usize::try_from(self.segments.end).expect("the end lies within the loaded bytes");
        let tail = &self.bytes[end..];
        let Some(last) = tail.iter().rposition(|&byte| byte != 0) else { return Ok(0) };
        for at in (end + ALIGN_BYTES..end + last).step_by(ALIGN_BYTES) {
            if record::batch_of(&self.bytes, at, &segment.salt).is_some_and(|batch| batch > end) {
                let why = format!(
                    "no valid record at byte {end}, but one that was written later at byte {at}"
                );
                return Err(self.disk.corrupt(&segment.name, why));
            }
        }
        Ok(last as u64 + 1)
    }
}

/// Reads a whole segment and its header.
fn load(disk: &Disk, name: &str, bytes: &mut Vec<u8>) -> Result<(Header, Segment), Error> {
    let failed = |error| disk.io_error("cannot read segment", name, &error);
    let file = disk.vfs.open(&disk.dir.join(name)).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    let Some(len) = u32::try_from(len).ok().and_then(|len| usize::try_from(len).ok()) else {
        return Err(disk.corrupt(name, format!("it has {len} bytes, more than any segment")));
    };
    bytes.resize(len, 0);
    let count = file.read_at(bytes, 0).map_err(failed)?;
    bytes.truncate(count);
    let header = Header::decode(bytes).map_err(|error| header_error(disk, name, error))?;
    if header.file_name() != name {
        let why = format!("its header says that it is {}", header.file_name());
        return Err(disk.corrupt(name, why));
    }
    let salt = Salt::new(header.salt);
    let sequence = header.sequence;
    Ok((header, Segment { name: name.to_owned(), file, salt, sequence, position: 0 }))
}

fn header_error(disk: &Disk, name: &str, error: HeaderError) -> Error {
    match error {
        HeaderError::Invalid(why) => disk.corrupt(name, why),
        HeaderError::Version(version) => {
            let path = disk.dir.join(name);
            let path = path.display();
            Error::new(
                ErrorKind::Version,
                format!("{path} has format version {version}; this berth knows {VERSION}"),
            )
        }
    }
}

/// What a record found at byte `at` of segment `number` does.
fn step(bytes: &[u8], found: &Found, number: u32, at: usize) -> Step {
    match found.kind {
        Kind::Vote => Step::Vote(Bytes::copy_from_slice(&bytes[found.data.clone()])),
        Kind::Entry => Step::Entry(found.index, slot(number, at, found.end - at)),
        Kind::Next => Step::Next(found.index),
        Kind::Purge => {
            Step::Purge(found.index, Bytes::copy_from_slice(&bytes[found.log_id.clone()]))
        }
    }
}
