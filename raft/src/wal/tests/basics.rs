//! What callers rely on: readable at once, group commit, purge, order, locks, real files.

use super::harness::{DIR, METADATA, Op, Rig, read_all, small_options};
use crate::vfs::{CrashFs, CrashRule, RealFs, Vfs};
use crate::wal::{Error, ErrorKind, Observer, Options, Wal, WalEntry};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

fn rig() -> Rig {
    Rig::open(&CrashFs::new(), small_options()).unwrap().0
}

#[test]
fn what_waits_together_shares_one_write_and_one_sync() {
    // Proves: group commit; a hundred appends that wait cost one sync.
    let mut options = small_options();
    options.segment_bytes = 1 << 20;
    let (mut rig, _) = Rig::open(&CrashFs::new(), options).unwrap();
    let before = rig.fs.syncs();
    for _ in 0..100 {
        rig.apply(&Op::Append(vec![10]));
    }
    assert_eq!(*rig.acknowledged.lock(), 0, "nothing is acknowledged before its sync");
    rig.write();
    assert_eq!(*rig.acknowledged.lock(), 100);
    assert_eq!(rig.fs.syncs() - before, 1);
    let stats = rig.wal.stats();
    assert_eq!((stats.writes, stats.operations), (1, 100));
}

#[test]
fn entries_are_readable_before_they_are_written_and_after_they_left_the_cache() {
    // Proves: reads are the same from the queue, from the cache and from disk.
    let mut rig = rig();
    for _ in 0..30 {
        rig.apply(&Op::Append(vec![200, 0, 31]));
        assert_eq!(read_all(&rig.wal), rig.model.entries);
    }
    rig.write();
    assert_eq!(read_all(&rig.wal), rig.model.entries);
    assert_eq!(rig.wal.read(3, 3, 10).unwrap(), Vec::new());
    assert_eq!(rig.wal.read(3, 90, 0).unwrap().len(), 1, "at least one entry");
    assert_eq!(rig.wal.read(3, 91, 10).unwrap_err().kind(), ErrorKind::Missing);
    let log_id = rig.model.entries[5].log_id.clone();
    assert_eq!(rig.wal.log_id_of(5).unwrap(), Some(log_id));
}

#[test]
fn a_purge_deletes_whole_segments_and_keeps_its_mark() {
    // Proves: space is given back, and mark and vote survive although their segments are gone.
    let mut rig = rig();
    rig.apply(&Op::Vote(9));
    for _ in 0..40 {
        rig.apply(&Op::Append(vec![300]));
        rig.write();
    }
    let files = || rig.fs.read_dir(Path::new(DIR)).unwrap();
    let before = files().len();
    let bytes = rig.wal.bytes();
    rig.wal.purge(36, Bytes::from_static(b"mark"), Box::new(|_| ()));
    assert_eq!(rig.wal.read(36, 37, 10).unwrap_err().kind(), ErrorKind::Missing);
    rig.write();
    assert!(before > 4 && rig.fs.read_dir(Path::new(DIR)).unwrap().len() <= 2);
    assert!(rig.wal.bytes() < bytes / 5);
    let after = rig.fs.crash(CrashRule::DropAll);
    let (_, recovered) = Rig::open(&after, small_options()).unwrap();
    assert_eq!(recovered.purged, Some((36, Bytes::from_static(b"mark"))));
    assert_eq!(recovered.vote, Some(Bytes::from(vec![9; 24])));
    assert_eq!(recovered.last.map(|(index, _)| index), Some(39));
}

#[test]
fn bytes_count_from_the_first_entry_and_from_any_entry() {
    // Proves: the sizes that decide about snapshots span segments and shrink to nothing.
    let mut rig = rig();
    for _ in 0..20 {
        rig.apply(&Op::Append(vec![300]));
        rig.write();
    }
    assert!(rig.wal.bytes() >= 20 * 300);
    let half = rig.wal.bytes_after(9);
    assert!(half >= 10 * 300 && half < rig.wal.bytes());
    assert_eq!(rig.wal.bytes_after(19), 0);
}

#[test]
fn what_breaks_the_order_is_refused_and_changes_nothing() {
    // Proves: gaps, entries behind the end and truncations behind the purge mark are refused.
    let mut rig = rig();
    rig.apply(&Op::Append(vec![1, 1, 1]));
    rig.apply(&Op::Purge(1));
    rig.write();
    for index in [0, 2, 4] {
        let entry = rig.entry(index, 1);
        rig.wal.append(vec![entry], rig.done());
    }
    rig.wal.truncate_after(None, rig.done());
    let kinds: Vec<_> = rig.refused.lock().iter().map(Error::kind).collect();
    assert_eq!(kinds, [ErrorKind::Refused; 4]);
    assert_eq!(read_all(&rig.wal), rig.model.entries);
}

#[test]
fn a_second_opening_is_refused_while_the_first_lives() {
    // Proves: two processes never write one log; the lock goes with the writer.
    let dir = tempfile::tempdir().unwrap();
    let real: Arc<dyn Vfs> = Arc::new(RealFs);
    for vfs in [real, Arc::new(CrashFs::new())] {
        let open = || Wal::create_or_open(Arc::clone(&vfs), dir.path(), METADATA, small_options());
        let (wal, _, writer) = open().unwrap();
        let error = open().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        wal.close();
        futures::executor::block_on(writer.run()).unwrap();
        assert!(open().is_ok());
    }
}

#[test]
fn on_real_files_a_thread_writes_what_another_appends() {
    // Proves: wake-ups are not lost and the whole path works on the machine's file system.
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("a/b");
    let options = Options { allocate_bytes: 64 << 10, ..Options::default() };
    let open = || Wal::create_or_open(Arc::new(RealFs), &dir, METADATA, options.clone()).unwrap();
    let (wal, _, writer) = open();
    let thread = std::thread::spawn(move || futures::executor::block_on(writer.run()));
    for index in 0..50 {
        let (sender, receiver) = std::sync::mpsc::channel();
        let entry = WalEntry {
            index,
            log_id: Bytes::from_static(b"id"),
            payload: Bytes::from(vec![1; 3000]),
        };
        wal.append(vec![entry], Box::new(move |result| sender.send(result).unwrap()));
        receiver.recv().unwrap().unwrap();
    }
    let entries = read_all(&wal);
    drop(wal);
    thread.join().unwrap().unwrap();
    let (wal, recovered, _writer) = open();
    assert_eq!((recovered.torn_bytes, read_all(&wal)), (0, entries));
}

#[test]
fn after_close_what_waited_is_written_and_more_is_refused() {
    // Proves: a clean end loses nothing and says so to late callers.
    let mut rig = rig();
    rig.apply(&Op::Append(vec![5]));
    rig.wal.close();
    rig.wal.save_vote(Bytes::new(), rig.done());
    rig.write();
    assert_eq!(rig.ended, Some(Ok(())));
    assert_eq!(*rig.acknowledged.lock(), 1);
    assert_eq!(rig.refused.lock()[0].kind(), ErrorKind::Stopped);
    assert_eq!(rig.wal.failed(), None);
}

#[derive(Default)]
struct Notes(parking_lot::Mutex<Vec<String>>);

impl Observer for Notes {
    fn write_started(&self, bytes: usize, operations: usize) {
        self.0.lock().push(format!("write {bytes} bytes, {operations} operations"));
    }

    fn sync_started(&self) {
        self.0.lock().push("sync".to_owned());
    }

    fn sync_finished(&self) {
        self.0.lock().push("synced".to_owned());
    }
}

#[test]
fn the_observer_sees_each_write_and_its_sync() {
    // Proves: histograms measure the write and the sync of what callers asked for, no zeros.
    let notes = Arc::new(Notes::default());
    let mut options = small_options();
    options.observer = Some(Arc::clone(&notes) as Arc<dyn Observer>);
    let (mut rig, _) = Rig::open(&CrashFs::new(), options).unwrap();
    rig.apply(&Op::Vote(1));
    rig.apply(&Op::Vote(2));
    rig.write();
    assert_eq!(*notes.0.lock(), ["write 112 bytes, 2 operations", "sync", "synced"]);
}

#[test]
fn a_dropped_writer_tells_everyone() {
    // Proves: nobody waits for ever on a writer that is gone.
    let (wal, _, writer) =
        Wal::create_or_open(Arc::new(CrashFs::new()), Path::new(DIR), METADATA, small_options())
            .unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    wal.save_vote(Bytes::new(), Box::new(move |result| sender.send(result).unwrap()));
    drop(writer);
    assert_eq!(receiver.recv().unwrap().unwrap_err().kind(), ErrorKind::Stopped);
    assert!(wal.failed().is_some());
}
