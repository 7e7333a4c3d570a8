//! What one client sees, step by step.

use super::*;
use crate::CreateError;

/// Proves the life of a watch: created first, its events in order, prev_kv, canceled last.
#[test]
fn a_watch_from_now_on() {
    let mut bench = Bench::new(Options::default());
    let mut stream = bench.hub.open();
    bench.put("a", "0");
    let request = WatchCreateRequest { prev_kv: true, ..on("a") };
    assert_eq!(stream.create(&request), Ok(0));
    bench.put("a", "1");
    bench.put("b", "1");
    bench.write(&[("a", None), ("b", None)]);
    bench.put("a", "2");
    bench.settle();
    stream.cancel(0);
    bench.put("a", "3");
    assert_eq!(
        lines(&bench.take_all(&mut stream)),
        [
            "#0 @2 created",
            "#0 @3 a=1@3(was 0@2)",
            "#0 @5 -a@5(was 1@3)",
            "#0 @6 a=2@6",
            "#0 @6 canceled",
        ]
    );
}

/// Proves that all events of a revision come in one response, in the order they were made.
#[test]
fn a_revision_is_one_response() {
    let mut bench = Bench::new(Options::default());
    let mut stream = bench.hub.open();
    stream.create(&WatchCreateRequest { range_end: "z".into(), ..on("b") }).unwrap();
    bench.write(&[("c", Some("1")), ("a", Some("1")), ("b", Some("1")), ("z", Some("1"))]);
    assert_eq!(lines(&bench.take_all(&mut stream)), ["#0 @1 created", "#0 @2 c=1@2 b=1@2"]);
}

/// Proves where a start revision leads: history, history and then the present, the future. The
/// header of late events says the store's revision.
#[test]
fn start_revisions() {
    let mut bench = Bench::new(Options::default());
    for value in ["1", "2", "3"] {
        bench.put("a", value);
    }
    bench.settle();
    let mut stream = bench.hub.open();
    for start_revision in [3, 4, 5, 6] {
        stream.create(&WatchCreateRequest { start_revision, ..on("a") }).unwrap();
    }
    bench.settle();
    bench.put("a", "4");
    bench.put("a", "5");
    let all = lines(&bench.take_all(&mut stream));
    let of = |id: &str| all.iter().filter(|line| line.starts_with(id)).cloned().collect::<Vec<_>>();
    assert_eq!(of("#0"), ["#0 @4 created", "#0 @4 a=2@3 a=3@4", "#0 @5 a=4@5", "#0 @6 a=5@6"]);
    assert_eq!(of("#1"), ["#1 @4 created", "#1 @4 a=3@4", "#1 @5 a=4@5", "#1 @6 a=5@6"]);
    assert_eq!(of("#2"), ["#2 @4 created", "#2 @5 a=4@5", "#2 @6 a=5@6"]);
    assert_eq!(of("#3"), ["#3 @4 created", "#3 @6 a=5@6"]);
}

/// Proves that a watch "from now" counts from what the store shows, even if the hub lags behind
/// it: a client that wrote before it watched does not see its own write.
#[test]
fn now_is_what_the_store_shows() {
    let mut bench = Bench::new(Options::default());
    let mut stream = bench.hub.open();
    bench.put("a", "before");
    let late = bench.store.write(&[("a", Some("applied, not yet published"))]).unwrap();
    stream.create(&on("a")).unwrap();
    bench.publisher.publish(&[late]);
    bench.put("a", "after");
    assert_eq!(lines(&bench.take_all(&mut stream)), ["#0 @3 created", "#0 @4 a=after@4"]);
}

/// Proves how ids are given: counted per stream, never twice, the client's own respected.
#[test]
fn watch_ids() {
    let bench = Bench::new(Options::default());
    let mut stream = bench.hub.open();
    let with_id = |watch_id| WatchCreateRequest { watch_id, ..on("a") };
    assert_eq!(stream.create(&with_id(1)), Ok(1));
    assert_eq!(stream.create(&with_id(0)), Ok(0));
    assert_eq!(stream.create(&with_id(0)), Ok(2));
    assert_eq!(stream.create(&with_id(1)), Err(CreateError::DuplicateId));
    assert_eq!(stream.create(&with_id(-3)), Ok(-3));
    stream.cancel(2);
    assert_eq!(stream.create(&with_id(0)), Ok(3));
    assert_eq!(stream.create(&with_id(2)), Ok(2));
    assert_eq!(bench.hub.open().create(&with_id(0)), Ok(0));
}

/// Proves that requests without sense are refused, and the answer to a refused one.
#[test]
fn refusals() {
    let mut bench = Bench::new(Options::default());
    let mut stream = bench.hub.open();
    let negative = WatchCreateRequest { start_revision: -1, ..on("a") };
    assert_eq!(stream.create(&negative), Err(CreateError::NegativeStart));
    let empty = WatchCreateRequest { range_end: "a".into(), ..on("b") };
    assert_eq!(stream.create(&empty), Err(CreateError::EmptyRange));
    stream.cancel(9);
    assert_eq!(lines(&bench.take_all(&mut stream)), [""; 0]);
    stream.refuse("no".into());
    assert_eq!(lines(&bench.take_all(&mut stream)), ["#-1 @1 created canceled \"no\""]);
}

/// Proves that filters drop events and nothing else, and that a response without events is none.
#[test]
fn filters() {
    let mut bench = Bench::new(Options::default());
    let mut stream = bench.hub.open();
    for filters in [vec![0], vec![1], vec![0, 1], vec![7]] {
        stream.create(&WatchCreateRequest { filters, ..on("a") }).unwrap();
    }
    bench.put("a", "1");
    bench.write(&[("a", None)]);
    let all = lines(&bench.take_all(&mut stream));
    assert_eq!(all[4..], ["#1 @2 a=1@2", "#3 @2 a=1@2", "#0 @3 -a@3", "#3 @3 -a@3"]);
}

/// Proves compaction as etcd tells it: a start below it is created, then canceled with a header
/// without revision; the compacted revision itself is served, its previous value is not.
#[test]
fn compacted_starts() {
    let mut bench = Bench::new(Options { ring_bytes: 0, ..Options::default() });
    for value in ["1", "2", "3"] {
        bench.put("a", value);
    }
    bench.settle();
    bench.store.compact(3);
    let mut stream = bench.hub.open();
    let from = |start_revision| WatchCreateRequest { start_revision, prev_kv: true, ..on("a") };
    stream.create(&from(2)).unwrap();
    stream.create(&from(3)).unwrap();
    let all = lines(&bench.take_all(&mut stream));
    let want = [
        "#0 @4 created",
        "#0 @0 canceled compacted=3",
        "#1 @4 created",
        "#1 @4 a=2@3 a=3@4(was 2@3)",
    ];
    assert_eq!(all, want);
    // The id stays taken until the client lets go of it.
    let again = WatchCreateRequest { watch_id: 0, ..on("a") };
    assert_eq!(stream.create(&again), Ok(2));
    stream.cancel(0);
    assert_eq!(lines(&bench.take_all(&mut stream))[1], "#0 @4 canceled");
}

/// Proves that a delete at the very revision of a compaction reaches who starts there (etcd 18089).
#[test]
fn delete_at_the_compaction_revision() {
    for ring_bytes in [0, 1 << 20] {
        let mut bench = Bench::new(Options { ring_bytes, ..Options::default() });
        bench.put("a", "1");
        bench.write(&[("a", None)]);
        bench.settle();
        bench.store.compact(3);
        let mut stream = bench.hub.open();
        stream.create(&WatchCreateRequest { start_revision: 3, ..on("a") }).unwrap();
        assert_eq!(lines(&bench.take_all(&mut stream)), ["#0 @3 created", "#0 @3 -a@3"]);
    }
}

/// Proves that a fragmented response is split, says so, and only for who asked.
#[test]
fn fragments_only_on_demand() {
    let mut bench = Bench::new(Options { max_response_bytes: 200, ..Options::default() });
    let mut stream = bench.hub.open();
    let all_keys = WatchCreateRequest { range_end: "\0".into(), ..on("a") };
    stream.create(&WatchCreateRequest { fragment: true, ..all_keys.clone() }).unwrap();
    stream.create(&all_keys).unwrap();
    let long = "x".repeat(60);
    bench.write(&[("a", Some(&long)), ("b", Some(&long)), ("c", Some("1"))]);
    let taken = bench.take_all(&mut stream);
    let shape: Vec<_> = taken[2..]
        .iter()
        .map(|response| (response.watch_id, response.events.len(), response.fragment))
        .collect();
    assert_eq!(shape, [(0, 1, true), (0, 2, false), (1, 3, false)]);
}

/// Proves that an event is encoded once for all its watchers.
#[test]
fn bytes_are_shared() {
    let mut bench = Bench::new(Options::default());
    let mut streams: Vec<_> = (0..3).map(|_| bench.hub.open()).collect();
    for stream in &mut streams {
        stream.create(&WatchCreateRequest { prev_kv: true, ..on("a") }).unwrap();
    }
    bench.put("a", "1");
    bench.put("a", "2");
    let taken: Vec<_> = streams.iter_mut().map(|stream| bench.take_all(stream)).collect();
    for response in 1..3 {
        let pointers = taken.iter().map(|of_one| of_one[response].events[0].as_ptr());
        let pointers: std::collections::BTreeSet<_> = pointers.collect();
        assert_eq!(pointers.len(), 1);
    }
}

/// Proves that a dropped stream leaves nothing behind, and a closed hub ends streams and its task.
#[test]
fn endings() {
    let mut bench = Bench::new(Options::default());
    let mut stream = bench.hub.open();
    for start_revision in [0, 1] {
        let request = WatchCreateRequest { start_revision, progress_notify: true, ..on("a") };
        stream.create(&request).unwrap();
    }
    assert_eq!(bench.hub.stats().watchers, 2);
    drop(stream);
    assert_eq!(bench.hub.stats(), crate::Stats::default());

    let mut stream = bench.hub.open();
    stream.create(&on("a")).unwrap();
    bench.settle();
    bench.hub.close();
    assert!(take(&mut stream).is_some_and(|response| response.created));
    assert!(is_ended(&mut stream));
    assert!(is_ended(&mut bench.hub.open()));
    assert!(bench.poll(1).is_ready());
}
