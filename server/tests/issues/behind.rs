//! Watches of a member that is behind the others.

use std::path::Path;
use std::time::Duration;

use api::etcdserverpb::PutRequest;
use api::mvccpb::Event;
use testkit::{Clients, Kind, bounded, eventually};

use crate::halves::Halves;
use crate::steps::{put, revision_of};
use crate::told::Told;

const KEYS: (&str, &str) = ("k", "l");
/// Beside the watched keys, to fill the log with.
const FILLER: &str = "filler";
const FILLER_BYTES: usize = 1 << 20;
/// Written at a time.
const FILLERS: usize = 4;
/// Two snapshots, which are written slowly so that nobody suffers.
const PURGED_S_MAX: u64 = 120;
/// Longer than a moment of silence, so that there are some between notifications.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// What was put to the watched keys, in order: revision and value.
#[derive(Default)]
struct Writes(Vec<(i64, String)>);

impl Writes {
    async fn put(&mut self, clients: &Clients, count: usize) {
        for _ in 0..count {
            let number = self.0.len();
            let value = format!("value {number}");
            let revision = put(clients, &format!("k{}", number % 5), &value).await;
            self.0.push((revision, value));
        }
    }

    fn last(&self) -> i64 {
        self.0.last().expect("there are writes").0
    }

    /// The revision of the write so many before the last.
    fn before_last(&self, count: usize) -> i64 {
        self.0[self.0.len() - 1 - count].0
    }

    /// The watch told of all of them from `start` on, each once, in order.
    fn check(&self, events: &[Event], start: i64) {
        let text = |event: &Event| {
            let value = &event.kv.as_ref().expect("an event has a key").value;
            (revision_of(event), String::from_utf8_lossy(value).into_owned())
        };
        let told: Vec<_> = events.iter().map(text).collect();
        let since: Vec<_> = self.0.iter().filter(|(at, _)| *at >= start).cloned().collect();
        assert_eq!(told, since, "the watch from r{start}");
    }
}

/// Proves that watches of a member which was cut off for so long that it has to be sent a snapshot
/// go on where they were, over the snapshot: no event is lost, told twice, or older than one before
/// it. Neither does a watch hear of anything older than its start that a client opened while the
/// member was cut off, for a revision that it had seen at another one (etcd 20221).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_15271_a_watch_does_not_go_back_when_its_member_is_sent_a_snapshot() {
    let halves = Halves::start(&[]).await;
    let (near, far) = (halves.near(), halves.far());
    let mut writes = Writes::default();
    writes.put(&near, 50).await;
    let first = writes.0[0].0;
    let mut old = Told::open(&far).await;
    old.watch(KEYS, first).await;
    old.hear_upto(writes.last()).await;

    halves.cut();
    outgrow_log(&halves, &mut writes).await;
    let future = writes.before_last(5);
    let mut new = Told::open(&far).await;
    for start in [future, first] {
        new.watch(KEYS, start).await;
    }
    halves.heal();
    writes.put(&near, 50).await;
    for told in [&mut old, &mut new] {
        told.hear_upto(writes.last()).await;
        told.hear_rest().await;
    }
    if halves.cluster.kind() == Kind::Berth {
        let log = halves.cluster.member(halves.far).log();
        assert!(log.contains("receiving a snapshot"), "the log reached back far enough");
    }
    writes.check(old.events(0), first);
    writes.check(new.events(0), future);
    writes.check(new.events(1), first);
}

/// Writes until the log of those that go on does not reach back to its beginning.
async fn outgrow_log(halves: &Halves, writes: &mut Writes) {
    let near = halves.near();
    let log = halves.cluster.member(halves.near).data_dir().join("wal");
    let mut written = 0;
    eventually("the log is purged", PURGED_S_MAX, async || {
        let fillers = (0..FILLERS).map(|number| tokio::spawn(fill(near.clone(), number)));
        for filler in fillers.collect::<Vec<_>>() {
            filler.await.expect("a majority takes writes");
        }
        writes.put(&near, 1).await;
        written += (FILLERS * FILLER_BYTES) as u64;
        // etcd counts entries, and keeps more of them than these.
        let is_purged = halves.cluster.kind() == Kind::Etcd || bytes_in(&log) < written;
        if is_purged { Ok(()) } else { Err(format!("{written} bytes were written")) }
    })
    .await;
}

async fn fill(mut clients: Clients, number: usize) {
    let key = format!("{FILLER}{number}").into();
    let put = PutRequest { key, value: vec![b'x'; FILLER_BYTES].into(), ..Default::default() };
    bounded(clients.kv.put(put)).await.expect("a majority takes writes");
}

/// The size of all files of a folder.
fn bytes_in(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).expect("the folder is there");
    // A file may be removed while we look.
    files.flatten().flat_map(|file| file.metadata()).map(|data| data.len()).sum()
}

/// Proves that a member which lags tells of progress only behind all events up to it, asked or from
/// time to time, and that a watch for a revision that it does not know yet hears neither of older
/// events nor of older progress, from which its client would go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_20221_progress_of_a_lagging_member_is_not_ahead_of_events() {
    let interval = format!("--watch-progress-notify-interval={}s", PROGRESS_INTERVAL.as_secs());
    let halves = Halves::start(&[interval.as_str()]).await;
    let (near, far) = (halves.near(), halves.far());
    let mut writes = Writes::default();
    writes.put(&near, 30).await;
    let first = writes.0[0].0;
    let mut present = Told::open(&far).await;
    present.watch(KEYS, first).await;
    present.hear_upto(writes.last()).await;

    halves.cut();
    writes.put(&near, 200).await;
    let future = writes.before_last(100);
    let mut ahead = Told::open(&far).await;
    ahead.watch(KEYS, first).await;
    ahead.watch(KEYS, future).await;
    for told in [&present, &ahead] {
        told.ask_for_progress().await;
    }
    // Long enough for what should not be said.
    tokio::time::sleep(3 * PROGRESS_INTERVAL).await;
    halves.heal();
    let writing = tokio::spawn(async move {
        writes.put(&near, 200).await;
        writes
    });
    // While it catches up, and while there is more.
    present.hear_upto(future).await;
    ahead.hear_upto(future).await;
    let writes = writing.await.expect("a majority takes writes");
    for told in [&mut present, &mut ahead] {
        told.hear_upto(writes.last()).await;
        told.hear_rest().await;
        assert!(told.progress > 0, "none was given");
    }
    writes.check(present.events(0), first);
    writes.check(ahead.events(0), first);
    writes.check(ahead.events(1), future);
}
