//! Streams that do not keep up, and a hub that does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use super::*;

/// Notes that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Bounds so small that three events fill a stream, and the ring holds about four.
fn tight() -> Options {
    Options { buffer_bytes_per_stream: 800, ring_bytes: 2100, ..Options::default() }
}

fn values(responses: &[EncodedWatchResponse]) -> Vec<i64> {
    let all = responses.iter().flat_map(events);
    all.map(|event| event.kv.unwrap().mod_revision).collect()
}

/// Proves that a stream that is not read holds nobody up, keeps its bound, and gets everything in
/// order when it is read again; from the ring while that reaches, from the store after.
#[test]
fn a_slow_stream_falls_behind_and_joins_again() {
    for (count, from_store) in [(5, false), (50, true)] {
        let mut bench = Bench::new(tight());
        let (mut slow, mut quick) = (bench.hub.open(), bench.hub.open());
        slow.create(&on("a")).unwrap();
        quick.create(&on("a")).unwrap();
        bench.settle();
        for i in 0..count {
            bench.put("a", &i.to_string());
            bench.settle();
            assert!(take(&mut quick).is_some());
        }
        assert_eq!(bench.hub.stats().slow_watchers, 1);
        let taken = bench.take_all(&mut slow);
        assert_eq!(values(&taken), (2..count + 2).collect::<Vec<_>>());
        assert_eq!(bench.hub.stats().slow_watchers, 0);
        assert_eq!(bench.store.history_reads() > 0, from_store, "{count} events");
        bench.put("a", "live");
        assert_eq!(bench.take_all(&mut slow).len(), 1);
    }
}

/// Proves that a watcher behind whose history is compacted is told so, and that one whose events
/// are still in memory is served.
#[test]
fn compaction_ends_who_is_too_far_behind() {
    for (count, lost) in [(5, false), (50, true)] {
        let mut bench = Bench::new(tight());
        let mut stream = bench.hub.open();
        stream.create(&on("a")).unwrap();
        for i in 0..count {
            bench.put("a", &i.to_string());
            bench.settle();
        }
        bench.store.compact(count + 1);
        let taken = bench.take_all(&mut stream);
        let last = taken.last().unwrap();
        assert_eq!(last.compact_revision, if lost { count + 1 } else { 0 });
        assert_eq!(last.canceled, lost);
        assert_eq!(values(&taken).len() < usize::try_from(count).unwrap(), lost);
        assert_eq!(bench.hub.stats().watchers, usize::from(!lost));
    }
}

/// Proves that a hub which did not run while the inbox overflowed reads what it missed from the
/// store: nobody misses anything.
#[test]
fn an_overrun_inbox_is_read_back() {
    let mut bench = Bench::new(Options { inbox_bytes: 1000, ..Options::default() });
    let mut stream = bench.hub.open();
    stream.create(&on("a")).unwrap();
    for i in 0..20 {
        bench.put("a", &i.to_string());
    }
    assert_eq!(values(&bench.take_all(&mut stream)), (2..22).collect::<Vec<_>>());
    assert!(bench.store.history_reads() > 0);
}

/// Proves that after a snapshot took the place of the state, watches go on where they were: no
/// event twice, none missed, none older than before (etcd 15271), and future starts stay future.
#[test]
fn watches_survive_a_new_state() {
    let mut bench = Bench::new(Options::default());
    let mut stream = bench.hub.open();
    stream.create(&on("a")).unwrap();
    stream.create(&WatchCreateRequest { start_revision: 5, ..on("a") }).unwrap();
    bench.put("a", "1");
    bench.settle();
    for i in 0..4 {
        bench.store.write(&[("a", Some(&i.to_string()))]).unwrap();
    }
    bench.publisher.reset(bench.store.clone());
    bench.put("a", "last");
    let taken = bench.take_all(&mut stream);
    let (zero, one): (Vec<_>, Vec<_>) = taken.into_iter().partition(|r| r.watch_id == 0);
    assert_eq!(values(&zero), [2, 3, 4, 5, 6, 7]);
    assert_eq!(values(&one), [5, 6, 7]);
}

/// Proves that a watcher which catches up while a snapshot is being installed, so that neither the
/// old state nor the new one can be read, waits for the new one and misses nothing.
#[test]
fn a_watcher_behind_waits_for_the_new_state() {
    let mut bench = Bench::new(Options { ring_bytes: 0, ..Options::default() });
    bench.put("a", "1");
    bench.put("a", "2");
    bench.settle();
    let mut stream = bench.hub.open();
    bench.store.set_replaced(true);
    stream.create(&WatchCreateRequest { start_revision: 2, ..on("a") }).unwrap();
    assert_eq!(lines(&bench.take_all(&mut stream)), ["#0 @3 created"]);
    assert!(!is_ended(&mut stream));
    assert_eq!(bench.store.history_reads(), 1, "it does not ask again and again");
    bench.store.set_replaced(false);
    bench.store.write(&[("a", Some("3"))]).unwrap();
    bench.publisher.reset(bench.store.clone());
    assert_eq!(values(&bench.take_all(&mut stream)), [2, 3, 4]);
}

/// Proves that a stream which has to read a previous value while a snapshot is being installed waits
/// for the new state and is woken by it, and that it ends if the hub does.
#[test]
fn a_previous_value_is_read_from_the_new_state() {
    for comes in [true, false] {
        let mut bench = Bench::new(Options::default());
        bench.put("a", "1");
        let mut stream = bench.hub.open();
        stream.create(&WatchCreateRequest { prev_kv: true, ..on("a") }).unwrap();
        bench.settle();
        assert_eq!(lines(&bench.take_all(&mut stream)), ["#0 @2 created"]);
        bench.put("a", "2");
        bench.settle();
        bench.store.set_replaced(true);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        assert!(stream.poll_next(&mut Context::from_waker(&waker)).is_pending());
        if comes {
            bench.store.set_replaced(false);
            bench.publisher.reset(bench.store.clone());
            assert!(woken.0.load(Ordering::SeqCst), "nobody woke it");
            assert_eq!(lines(&bench.take_all(&mut stream)), ["#0 @3 a=2@3(was 1@2)"]);
        } else {
            bench.hub.close();
            assert!(woken.0.load(Ordering::SeqCst), "nobody woke it");
            assert!(is_ended(&mut stream));
        }
    }
}

/// Proves that an engine that fails ends the streams that need it, and leaves the others alone.
#[test]
fn a_broken_engine_ends_streams() {
    let mut bench = Bench::new(Options { ring_bytes: 0, ..Options::default() });
    bench.put("a", "1");
    bench.settle();
    let (mut needs, mut lives) = (bench.hub.open(), bench.hub.open());
    bench.store.break_down();
    needs.create(&WatchCreateRequest { start_revision: 2, ..on("a") }).unwrap();
    lives.create(&on("a")).unwrap();
    bench.put("a", "2");
    assert_eq!(lines(&bench.take_all(&mut needs)), ["#0 @2 created"]);
    assert!(is_ended(&mut needs));
    assert_eq!(lines(&bench.take_all(&mut lives)), ["#0 @2 created", "#0 @3 a=2@3"]);
}

/// Proves that a herd that starts at one old revision is read for together.
#[test]
fn a_herd_is_one_scan() {
    let mut bench = Bench::new(Options { ring_bytes: 0, ..Options::default() });
    for i in 0..100 {
        bench.put("a", &i.to_string());
    }
    bench.settle();
    let mut streams: Vec<_> = (0..200).map(|_| bench.hub.open()).collect();
    for stream in &mut streams {
        stream.create(&WatchCreateRequest { start_revision: 2, ..on("a") }).unwrap();
    }
    bench.settle();
    for stream in &mut streams {
        assert_eq!(values(&bench.take_all(stream)).len(), 100);
    }
    assert_eq!(bench.store.history_reads(), 1);
}

/// Proves that a compaction between planning a slice and reading it is told as any other.
#[test]
fn compacted_while_reading() {
    let mut bench = Bench::new(Options { ring_bytes: 0, ..Options::default() });
    bench.put("a", "1");
    bench.put("a", "2");
    bench.settle();
    let mut stream = bench.hub.open();
    stream.create(&WatchCreateRequest { start_revision: 2, ..on("a") }).unwrap();
    stream.create(&WatchCreateRequest { start_revision: 3, ..on("a") }).unwrap();
    let store = bench.store.clone();
    bench.store.meanwhile(move || store.compact(3));
    let all = lines(&bench.take_all(&mut stream));
    assert_eq!(all[2..], ["#0 @0 canceled compacted=3", "#1 @3 a=2@3"]);
}

/// Proves that a watch cancelled while its slice is read gets nothing of it, and that the others
/// of that slice do.
#[test]
fn cancelled_while_reading() {
    let mut bench = Bench::new(Options { ring_bytes: 0, ..Options::default() });
    bench.put("a", "1");
    bench.settle();
    let (mut gone, mut stays) = (bench.hub.open(), bench.hub.open());
    for stream in [&mut gone, &mut stays] {
        stream.create(&WatchCreateRequest { start_revision: 2, ..on("a") }).unwrap();
    }
    bench.store.meanwhile(move || drop(gone));
    assert_eq!(lines(&bench.take_all(&mut stays)), ["#0 @2 created", "#0 @2 a=1@2"]);
    assert_eq!(bench.store.history_reads(), 1);
    assert_eq!(bench.hub.stats().watchers, 1);
}

/// Proves that slices end where they should: whole revisions, nothing lost at the seams.
#[test]
fn many_small_slices() {
    for (slice_bytes, slice_revisions) in [(1, 1000), (1 << 20, 1), (1000, 3)] {
        for ring_bytes in [0, 1 << 20] {
            let options =
                Options { slice_bytes, slice_revisions, ring_bytes, ..Options::default() };
            let mut bench = Bench::new(options);
            for i in 0..50 {
                bench.write(&[("a", Some(&i.to_string())), ("b", Some("1"))]);
            }
            bench.settle();
            let mut stream = bench.hub.open();
            for start_revision in [2, 20] {
                let request = WatchCreateRequest { start_revision, ..on("a") };
                stream.create(&request).unwrap();
            }
            let taken = bench.take_all(&mut stream);
            let (zero, one): (Vec<_>, Vec<_>) = taken.into_iter().partition(|r| r.watch_id == 0);
            assert_eq!(values(&zero), (2..52).collect::<Vec<_>>());
            assert_eq!(values(&one), (20..52).collect::<Vec<_>>());
        }
    }
}

/// Proves that answers to requests are bounded too: the owner is told to stop asking.
#[test]
fn too_many_unread_answers_are_congestion() {
    let bench = Bench::new(Options::default());
    let mut stream = bench.hub.open();
    while !stream.congested() {
        stream.create(&on("a")).unwrap();
    }
    take(&mut stream).unwrap();
    assert!(!stream.congested());
}

/// Proves that ten thousand watchers of one key and a hundred thousand of many all get theirs.
#[test]
fn many_watchers() {
    let mut bench = Bench::new(Options::default());
    let mut stream = bench.hub.open();
    for i in 0..10_000 {
        let range_end = if i % 2 == 0 { "".into() } else { "hot0".into() };
        stream.create(&WatchCreateRequest { range_end, ..on("hot") }).unwrap();
    }
    for i in 0..100_000 {
        stream.create(&on(&format!("key{i}"))).unwrap();
    }
    while take(&mut stream).is_some() {}
    bench.put("hot", "1");
    bench.put("key77777", "1");
    assert_eq!(values(&bench.take_all(&mut stream)).len(), 10_001);
}
