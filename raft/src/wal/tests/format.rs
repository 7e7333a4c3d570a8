//! The bytes on disk, against the golden segment.

use super::harness::{DIR, Op, Rig, small_options};
use crate::vfs::CrashFs;
use crate::wal::header::{Header, HeaderError, parse_file_name};
use bytes::Bytes;
use std::path::{Path, PathBuf};

const GOLDEN: &[u8] = include_bytes!("../../../testdata/wal-v1.wal");

fn golden_path() -> PathBuf {
    Path::new(DIR).join("0000000000000001-0000000000000000.wal")
}

/// The log that the golden segment holds: every kind of record, padding, and zeros at the end.
fn golden_rig() -> Rig {
    let mut rig = Rig::open(&CrashFs::new(), small_options()).unwrap().0;
    for op in [
        Op::Vote(1),
        Op::Append(vec![0, 5, 8, 100]),
        Op::Write,
        Op::Truncate(2),
        Op::Append(vec![17, 200]),
        Op::Vote(2),
        Op::Write,
        Op::Purge(2),
        Op::Append(vec![64]),
        Op::Write,
    ] {
        rig.apply(&op);
    }
    rig.wal.close();
    rig.write();
    rig
}

#[test]
fn what_is_written_is_the_golden_segment() {
    // Proves: the format did not change by accident. If it must change: a new version, a
    // migration, a new golden file beside this one.
    let written = golden_rig().fs.contents(&golden_path()).unwrap();
    let same = written == GOLDEN;
    if !same {
        let path = std::env::temp_dir().join("wal-v1.wal");
        std::fs::write(&path, &written).unwrap();
        panic!("the segment differs from testdata/wal-v1.wal; it is in {}", path.display());
    }
}

#[test]
fn the_golden_segment_is_recovered() {
    // Proves: logs of version 1 stay readable.
    let fs = CrashFs::new();
    fs.install(&golden_path(), GOLDEN.to_vec());
    let (rig, recovered) = Rig::open(&fs, small_options()).unwrap();
    assert_eq!(rig.model, golden_rig().model);
    assert_eq!(recovered.torn_bytes, 0);
    assert_eq!(recovered.last, Some((4, Bytes::from_static(b"7/4"))));
}

#[test]
fn headers_survive_encoding_and_names_parse() {
    // Proves: every field comes back, for metadata of any padding.
    for len in 0..10 {
        let metadata = Bytes::from(vec![7; len]);
        let header = Header { sequence: 2, first: 3, next: 4, previous_end: 5, salt: 6, metadata };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(bytes.len(), header.encoded_len());
        assert_eq!(Header::decode(&bytes), Ok(header.clone()));
        assert_eq!(parse_file_name(&header.file_name()), Some((2, 4)));
        bytes.pop();
        assert!(matches!(Header::decode(&bytes), Err(HeaderError::Invalid(_))));
    }
    assert_eq!(parse_file_name("0000000000000001-000000000000000G.wal"), None);
    assert_eq!(parse_file_name("LOCK"), None);
}
