//! Damage to what was durable, and disks that fail: found, named, never papered over.

use super::harness::{DIR, Model, Op, Rig, script, small_options};
use crate::vfs::{CrashFs, CrashRule, Vfs};
use crate::wal::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// A log of several segments; `clean` if it was closed.
fn written(clean: bool) -> (CrashFs, Model) {
    let (mut rig, _) = Rig::open(&CrashFs::new(), small_options()).unwrap();
    for step in 0..9_u8 {
        rig.apply(&Op::Append(vec![usize::from(step) * 30, 250, 9]));
        rig.apply(&Op::Vote(step));
        rig.write();
    }
    rig.apply(&Op::Purge(5));
    rig.apply(&Op::Append(vec![100, 100]));
    rig.write();
    if clean {
        rig.wal.close();
        rig.write();
    }
    (rig.fs.crash(CrashRule::DropAll), rig.model.clone())
}

fn segments(fs: &CrashFs) -> Vec<PathBuf> {
    let names = fs.read_dir(Path::new(DIR)).unwrap();
    names
        .iter()
        .filter(|name| name.ends_with(".wal"))
        .map(|name| Path::new(DIR).join(name))
        .collect()
}

fn open(fs: &CrashFs) -> Result<(Model, u64), Error> {
    Rig::open(fs, small_options()).map(|(rig, recovered)| (rig.model.clone(), recovered.torn_bytes))
}

/// The file system with one file changed.
fn with(fs: &CrashFs, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> CrashFs {
    let changed = fs.crash(CrashRule::KeepAll);
    let mut bytes = fs.contents(path).unwrap();
    change(&mut bytes);
    changed.install(path, bytes);
    changed
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    // Proves: after a clean end, damage to any byte is refused; only in the last record of all,
    // which carries nothing, and in the zeros behind it, is it cut and reported instead.
    let (fs, model) = written(true);
    let (mut refused, mut cut) = (0, 0);
    for path in segments(&fs) {
        for at in 0..fs.contents(&path).unwrap().len() {
            let damaged = with(&fs, &path, |bytes| bytes[at] ^= 1 << (at % 8));
            match open(&damaged) {
                Ok((recovered, torn_bytes)) => {
                    assert_eq!(recovered, model, "byte {at} of {}", path.display());
                    assert!(torn_bytes > 0 || is_unread(&fs, &path, at), "byte {at} unnoticed");
                    cut += 1;
                }
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Version));
                    let name = path.file_name().unwrap().to_str().unwrap();
                    assert!(error.to_string().contains(name), "{error} does not name {name}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 3000 && cut > 32, "{refused} refused, {cut} cut");
}

/// The zeros behind the records of a segment that is not the last are never looked at.
fn is_unread(fs: &CrashFs, path: &Path, at: usize) -> bool {
    let is_last = segments(fs).last().unwrap() == path;
    !is_last && fs.contents(path).unwrap()[at..].iter().all(|&byte| byte == 0)
}

#[test]
fn a_flipped_bit_in_the_last_write_is_cut_and_reported() {
    // Proves: without a clean end, damage to the last write passes for a torn one, but never
    // silently, and takes nothing that was written before it.
    let (fs, model) = written(false);
    let path = segments(&fs).pop().unwrap();
    let bytes = fs.contents(&path).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    let (recovered, torn_bytes) = open(&with(&fs, &path, |bytes| bytes[end - 40] ^= 4)).unwrap();
    assert!(torn_bytes > 100);
    assert_eq!(recovered.entries[..], model.entries[..model.entries.len() - 1]);
}

#[test]
fn a_missing_segment_is_refused() {
    // Proves: no segment but the last can vanish unnoticed.
    let (fs, _) = written(true);
    let paths = segments(&fs);
    assert!(paths.len() > 2);
    for path in &paths[..paths.len() - 1] {
        let without = fs.crash(CrashRule::KeepAll);
        without.remove(path).unwrap();
        let error = open(&without).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("missing"), "{error}");
    }
}

#[test]
fn a_lost_sector_in_the_middle_is_refused_with_file_and_byte() {
    // Proves: a hole is never mistaken for the end of the log, in the last segment or before.
    let (fs, _) = written(true);
    for path in segments(&fs) {
        let damaged = with(&fs, &path, |bytes| bytes[128..160].fill(0));
        let error = open(&damaged).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("byte"), "{error}");
        let short = with(&fs, &path, |bytes| bytes.truncate(160));
        let is_last = segments(&fs).last() == Some(&path);
        assert!(is_last || open(&short).is_err(), "a short segment passed");
    }
}

#[test]
fn bytes_of_another_segment_are_not_records() {
    // Proves: the salt; valid records of one segment behind the end of another are not replayed.
    let (fs, model) = written(false);
    let paths = segments(&fs);
    let (old, last) = (fs.contents(&paths[0]).unwrap(), paths.last().unwrap());
    let stale = with(&fs, last, |bytes| {
        let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() / 8 * 8 + 8;
        bytes.truncate(end);
        bytes.extend_from_slice(&old[end.min(old.len() - 1000)..]);
    });
    let (recovered, torn_bytes) = open(&stale).unwrap();
    assert_eq!(recovered, model);
    assert!(torn_bytes > 0);
}

#[test]
fn a_record_at_another_place_is_not_a_record() {
    // Proves: a write that went astray within its segment is not replayed.
    let (fs, model) = written(false);
    let last = segments(&fs).pop().unwrap();
    let astray = with(&fs, &last, |bytes| {
        let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() / 8 * 8 + 8;
        // The vote at the head: 32 bytes of record header, 24 of vote, behind 88 of segment header.
        bytes.copy_within(88..88 + 56, end);
    });
    assert_eq!(open(&astray).unwrap(), (model, 56));
}

#[test]
fn a_newer_version_is_refused_by_name() {
    // Proves: an older berth never touches a newer one's log, and says why.
    let (fs, _) = written(true);
    let path = segments(&fs).remove(0);
    let error = open(&with(&fs, &path, |bytes| bytes[8] = 2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Version);
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn any_failed_operation_of_the_disk_poisons_the_log() {
    // Proves: after one failed write or sync nothing is acknowledged, retried or read, all get the
    // same error, and what was acknowledged before is recovered.
    let ops = script(3, 120);
    let fs = CrashFs::new();
    let (mut rig, _) = Rig::open(&fs, small_options()).unwrap();
    let created = fs.operations();
    ops.iter().for_each(|op| rig.apply(op));
    rig.write();
    let operations = fs.operations();
    assert!(operations - created > 60);
    for nth in created..operations {
        let fs = CrashFs::new();
        let (mut rig, _) = Rig::open(&fs, small_options()).unwrap();
        fs.fail_at(nth);
        ops.iter()
            .take_while(|op| {
                rig.apply(op);
                rig.ended.is_none()
            })
            .count();
        rig.write();
        let error = rig.wal.failed().unwrap();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("injected"), "{error}");
        assert_eq!(rig.ended, Some(Err(error.clone())));
        let before = (fs.operations(), *rig.acknowledged.lock());
        rig.wal.save_vote(bytes::Bytes::new(), rig.done());
        rig.write();
        assert_eq!((fs.operations(), *rig.acknowledged.lock()), before, "it went on");
        assert!(rig.refused.lock().iter().all(|refused| *refused == error));
        assert_eq!(rig.wal.read(0, 1, 1), Err(error));
        for rule in [CrashRule::DropAll, CrashRule::KeepAll] {
            rig.recover(&fs.crash(rule), small_options()).unwrap();
        }
    }
}
