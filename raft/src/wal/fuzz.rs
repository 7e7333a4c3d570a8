//! The entry for fuzzing: recovery from bytes that nobody wrote.

use super::header::Header;
use super::record::{self, Kind, Record, Salt};
use super::{Options, Recovered, Wal, WalEntry, Writer};
use crate::vfs::CrashFs;
use bytes::Bytes;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

const DIR: &str = "/wal";
const SALT: u64 = 1;

/// Recovers a log from arbitrary bytes laid out as segment files, and uses what was recovered.
///
/// The first byte chooses: even, and the rest are the bytes of segments (each with two bytes of
/// length before it); odd, and the rest are a script of records whose checks are right, followed by
/// damage to their bytes. Either way recovery must answer or refuse, never panic, and take memory in
/// proportion to the bytes; what it answers must be the same at the next opening.
pub fn recover_arbitrary(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let segments = if mode % 2 == 0 { raw_segments(rest) } else { scripted_segments(rest) };
    let fs = CrashFs::new();
    for (name, bytes) in segments {
        fs.install(&Path::new(DIR).join(name), bytes);
    }
    let Some((wal, recovered, writer)) = open(&fs) else { return };
    let (first, next) = (wal.first_index(), wal.next_index());
    read_all(&wal);
    drop((wal, writer));
    let (wal, again, writer) = open(&fs).expect("what was recovered once is recovered again");
    assert_eq!((wal.first_index(), wal.next_index()), (first, next));
    assert_eq!((again.torn_bytes, &again.last), (0, &recovered.last));
    go_on(&wal, writer);
}

fn open(fs: &CrashFs) -> Option<(Wal, Recovered, Writer)> {
    let options = Options {
        segment_bytes: 4096,
        allocate_bytes: 512,
        cache_bytes: 256,
        salt_seed: 2,
        ..Options::default()
    };
    let vfs = Arc::new(fs.clone());
    Wal::create_or_open(vfs, Path::new(DIR), Bytes::from_static(b"fuzz"), options).ok()
}

fn read_all(wal: &Wal) {
    let (mut at, next) = (wal.first_index(), wal.next_index());
    while at < next {
        let entries = wal.read(at, next, 512).expect("what was recovered can be read");
        at += entries.len() as u64;
    }
}

fn go_on(wal: &Wal, writer: Writer) {
    let index = wal.next_index();
    if index < u64::MAX {
        let entry = WalEntry { index, log_id: Bytes::new(), payload: Bytes::from_static(b"more") };
        wal.append(vec![entry], Box::new(|result| result.expect("a recovered log goes on")));
    }
    wal.close();
    let end = pin!(writer.run()).poll(&mut Context::from_waker(Waker::noop()));
    assert!(end.is_ready(), "a closed writer ends");
}

fn raw_segments(mut data: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut segments = Vec::new();
    while let Some((len, rest)) = data.split_first_chunk::<2>() {
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        data = rest;
        // Under the name that its header gives it, or recovery would stop at the name.
        let name = match Header::decode(bytes) {
            Ok(header) => header.file_name(),
            Err(_) => format!("{:016x}-{:016x}.wal", segments.len() + 1, 0),
        };
        segments.push((name, bytes.to_vec()));
    }
    segments
}

/// A count of records, four bytes for each (what, index, log id length, data length), then damage:
/// two bytes of place and one to be combined with the byte there.
fn scripted_segments(data: &[u8]) -> Vec<(String, Vec<u8>)> {
    let Some((&count, rest)) = data.split_first() else { return Vec::new() };
    let split = rest.len().min(usize::from(count) * 4);
    let (records, damage) = rest.split_at(split);
    let mut script = Script { segments: Vec::new(), batch: 0 };
    script.begin(0);
    for record in records.chunks_exact(4) {
        script.add(record);
    }
    for damage in damage.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([damage[0], damage[1]]));
        let nth = place % script.segments.len();
        let bytes = &mut script.segments[nth].1;
        let len = bytes.len();
        bytes[place % len] ^= damage[2];
    }
    script.segments
}

struct Script {
    segments: Vec<(String, Vec<u8>)>,
    /// Where the write that is pretended began.
    batch: usize,
}

impl Script {
    fn begin(&mut self, next: u64) {
        let header = Header {
            sequence: self.segments.len() as u64 + 1,
            first: 0,
            next,
            previous_end: self.segments.last().map_or(0, |(_, bytes)| bytes.len() as u64),
            salt: SALT,
            metadata: Bytes::from_static(b"fuzz"),
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        self.batch = bytes.len();
        self.segments.push((header.file_name(), bytes));
    }

    fn add(&mut self, record: &[u8]) {
        const FILL: [u8; 255] = [0x5a; 255];
        let index = u64::from(record[1]);
        let kind = match record[0] % 8 {
            0 => Kind::Vote,
            1 => Kind::Next,
            2 => Kind::Purge,
            3 => return self.begin(index),
            _ => Kind::Entry,
        };
        let bytes = &mut self.segments.last_mut().expect("a script begins with a segment").1;
        let at = bytes.len();
        if record[0] >= 128 {
            self.batch = at;
        }
        let (log_id, data) = (&FILL[..usize::from(record[2])], &FILL[..usize::from(record[3])]);
        let record = Record { kind, index, log_id, data };
        record::encode(bytes, &Salt::new(SALT), at, self.batch, record);
    }
}
