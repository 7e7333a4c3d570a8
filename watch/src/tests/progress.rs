//! Progress notifications, asked for and periodic.

use super::*;

fn all_lines(bench: &mut Bench, stream: &mut WatchStream) -> Vec<String> {
    lines(&bench.take_all(stream))
}

/// Proves that asked progress is never ahead of the events it speaks of (etcd 15220), nor below
/// the revision that the client could see when it asked.
#[test]
fn asked_progress_waits_for_events() {
    let mut bench = Bench::new(Options::default());
    let mut stream = bench.hub.open();
    stream.create(&on("a")).unwrap();
    bench.put("a", "1");
    let late = bench.store.write(&[("a", Some("2"))]).unwrap();
    stream.request_progress();
    assert_eq!(all_lines(&mut bench, &mut stream), ["#0 @1 created", "#0 @2 a=1@2"]);
    bench.publisher.publish(&[late]);
    assert_eq!(all_lines(&mut bench, &mut stream), ["#0 @3 a=2@3", "#-1 @3"]);
}

/// Proves that one watch that lags holds back the progress of its stream, and no other.
#[test]
fn asked_progress_waits_for_all_watches_of_the_stream() {
    let mut bench = Bench::new(Options::default());
    bench.put("a", "1");
    bench.settle();
    let (mut one, mut other) = (bench.hub.open(), bench.hub.open());
    one.create(&on("b")).unwrap();
    one.create(&WatchCreateRequest { start_revision: 2, ..on("a") }).unwrap();
    other.create(&on("b")).unwrap();
    one.request_progress();
    other.request_progress();
    let taken: Vec<_> = std::iter::from_fn(|| take(&mut other)).collect();
    assert_eq!(lines(&taken), ["#0 @2 created", "#-1 @2"]);
    let taken = all_lines(&mut bench, &mut one);
    assert_eq!(taken, ["#0 @2 created", "#1 @2 created", "#1 @2 a=1@2", "#-1 @2"]);
}

/// Proves that a watch of the future speaks of no progress before it has begun, and that a stream
/// without watches is not answered.
#[test]
fn asked_progress_needs_a_watch_that_has_begun() {
    let mut bench = Bench::new(Options::default());
    let mut stream = bench.hub.open();
    stream.request_progress();
    stream.create(&WatchCreateRequest { start_revision: 3, ..on("a") }).unwrap();
    stream.request_progress();
    bench.put("b", "1");
    assert_eq!(all_lines(&mut bench, &mut stream), ["#0 @1 created"]);
    bench.put("b", "2");
    assert_eq!(all_lines(&mut bench, &mut stream), ["#-1 @3"]);
    stream.cancel(0);
    stream.request_progress();
    assert_eq!(all_lines(&mut bench, &mut stream), ["#0 @3 canceled"]);
}

/// Proves that periodic progress comes to idle watches that asked for it, and is left out once
/// where an event was sent.
#[test]
fn periodic_progress_is_elided_after_events() {
    let mut bench = Bench::new(Options { progress_interval_ms: 1000, ..Options::default() });
    let mut stream = bench.hub.open();
    stream.create(&WatchCreateRequest { progress_notify: true, ..on("a") }).unwrap();
    stream.create(&on("a")).unwrap();
    bench.put("b", "1");
    bench.settle();
    bench.hub.tick(999);
    assert_eq!(all_lines(&mut bench, &mut stream), ["#0 @1 created", "#1 @1 created"]);
    bench.hub.tick(1100);
    assert_eq!(all_lines(&mut bench, &mut stream), ["#0 @2"]);
    bench.put("a", "1");
    let events = ["#0 @3 a=1@3", "#1 @3 a=1@3"];
    assert_eq!(all_lines(&mut bench, &mut stream), events);
    bench.hub.tick(2200);
    assert_eq!(all_lines(&mut bench, &mut stream), [""; 0]);
    bench.hub.tick(3300);
    assert_eq!(all_lines(&mut bench, &mut stream), ["#0 @3"]);
    stream.cancel(0);
    bench.hub.tick(9900);
    assert_eq!(all_lines(&mut bench, &mut stream), ["#0 @3 canceled"]);
}

/// Proves that a watch that is behind hears of no periodic progress.
#[test]
fn periodic_progress_only_when_synced() {
    let mut bench = Bench::new(Options { progress_interval_ms: 1000, ..Options::default() });
    bench.put("a", "1");
    bench.settle();
    let mut stream = bench.hub.open();
    let request = WatchCreateRequest { progress_notify: true, start_revision: 2, ..on("a") };
    stream.create(&request).unwrap();
    bench.hub.tick(5000);
    assert_eq!(all_lines(&mut bench, &mut stream), ["#0 @2 created", "#0 @2 a=1@2"]);
}
