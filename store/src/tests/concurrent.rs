//! Everything that may run at the same time, at the same time.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::*;
use crate::{EventBatch, Reader, Snapshot};

const COMMANDS: u64 = 4000;
const SNAPSHOT_AT: u64 = 2500;

/// Set when it goes out of scope, also by a panic: or else the others would wait for ever.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn nobody_sees_anything_torn_or_missing() {
    // While one thread writes, flushes, compactions, reads, a watcher of history and a snapshot
    // go on; each read is consistent and the history has every event once.
    let mut fixture = Fixture::new();
    let (reader, flusher) = (fixture.store.reader(), fixture.store.flusher());
    let compactor = fixture.store.compactor();
    let (done, followed) = (AtomicBool::new(false), AtomicI64::new(1));
    let go_on = || !done.load(Ordering::Acquire);
    std::thread::scope(|scope| {
        let (done, followed, reader) = (&done, &followed, &reader);
        scope.spawn(move || while flusher.flush_once().unwrap() || go_on() {});
        scope.spawn(move || while compactor.step(16).unwrap() || go_on() {});
        scope.spawn(move || {
            while go_on() {
                read_consistently(reader);
            }
        });
        let follower = scope.spawn(move || follow(reader, followed, done));
        let _done = SetOnDrop(done);
        let mut batches = Vec::new();
        let mut snapshot = None;
        for number in 0..COMMANDS {
            let applied = fixture.apply(command(number, followed.load(Ordering::Relaxed)));
            batches.extend(applied.events);
            if number == SNAPSHOT_AT {
                let (taken, hash) = (fixture.store.snapshot(), reader.hash_kv(0).unwrap());
                snapshot = Some((scope.spawn(move || restored(&taken)), hash));
            }
        }
        drop(_done);
        compare_events(&batches, &follower.join().unwrap());
        let (restored, hash) = snapshot.unwrap();
        assert_eq!(restored.join().unwrap().reader().hash_kv(0).unwrap(), hash);
    });
}

fn restored(snapshot: &Snapshot) -> Store {
    let mut bytes = Vec::new();
    snapshot.write_to(&mut bytes).unwrap();
    let engine = Arc::new(MemEngine::new());
    Store::restore(engine, Options::default(), &mut &*bytes).unwrap()
}

/// Mostly a transaction that writes one value to two keys.
fn command(number: u64, followed: i64) -> Op {
    let key = number * 7919 % 100;
    match number % 20 {
        0 => Op::Compact(pb::CompactionRequest { revision: followed - 1, physical: false }),
        1..4 => Op::DeleteRange(pb::DeleteRangeRequest {
            key: format!("a/{key:02}").into(),
            range_end: format!("a/{:02}", key + 10).into(),
            prev_kv: true,
        }),
        _ => {
            let value = format!("value {number}");
            let puts = ["a", "b"].map(|side| put(&format!("{side}/{key:02}"), &value, 0));
            let success = puts.map(|put| op(Request::RequestPut(put))).into();
            Op::Txn(pb::TxnRequest { success, ..pb::TxnRequest::default() })
        }
    }
}

fn read_consistently(reader: &Reader) {
    let (key, range_end) = (Bytes::from_static(b"a"), Bytes::from_static(b"c"));
    let request = pb::RangeRequest { key, range_end, ..pb::RangeRequest::default() };
    let found = reader.range(None, &request).unwrap();
    let revision = found.header.unwrap().revision;
    assert_eq!(found.count, i64::try_from(found.kvs.len()).unwrap());
    let (left, right): (Vec<_>, Vec<_>) = found.kvs.iter().partition(|kv| kv.key[0] == b'a');
    for kv in left {
        assert!(kv.mod_revision <= revision);
        let other = right.iter().find(|other| other.key[1..] == kv.key[1..]).unwrap();
        assert_eq!((&other.value, other.mod_revision), (&kv.value, kv.mod_revision));
    }
    // The same revision again, in pieces, while the store goes on.
    let again = pb::RangeRequest { revision, limit: 10, ..request };
    match reader.range(None, &again) {
        Ok(again) => {
            assert_eq!(again.count, found.count);
            assert!(found.kvs.starts_with(&again.kvs));
        }
        Err(error) => assert_eq!(error, Error::Compacted),
    }
}

/// Reads the history to its end, close behind the writer.
fn follow(reader: &Reader, followed: &AtomicI64, done: &AtomicBool) -> Vec<crate::Event> {
    let (mut next, mut events) = (2, Vec::new());
    loop {
        let was_done = done.load(Ordering::Acquire);
        let chunk = reader.history(next, i64::MAX, &|_| true, 500).unwrap();
        let is_end = chunk.events.is_empty();
        events.extend(chunk.events);
        next = chunk.next;
        followed.store(next, Ordering::Relaxed);
        if is_end && was_done {
            return events;
        }
    }
}

fn compare_events(batches: &[Arc<EventBatch>], followed: &[crate::Event]) {
    let published: Vec<_> = batches.iter().flat_map(|batch| &batch.events).collect();
    assert_eq!(published.len(), followed.len());
    for (published, followed) in published.into_iter().zip(followed) {
        assert_eq!((published.kind, &published.kv), (followed.kind, &followed.kv));
        assert_eq!(published.revision, followed.revision);
    }
}
