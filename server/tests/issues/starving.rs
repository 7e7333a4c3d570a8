//! Watches of a client that does not read.

use api::etcdserverpb::PutRequest;
use api::mvccpb::Event;
use api::mvccpb::event::EventType;
use testkit::{Clients, Server, bounded, subject};

use crate::steps::{compact, delete, revision_of};
use crate::told::Told;

/// On one stream, each of a key of its own.
const WATCHES: usize = 48;
const ROUNDS: usize = 3;
/// Together much more than a server keeps for a stream, and than it keeps of the newest events.
const VALUE_BYTES: usize = 64 << 10;

/// One change of a key.
struct Change {
    watch: usize,
    revision: i64,
    /// `None`: it was deleted.
    value: Option<Vec<u8>>,
    /// Revision and value of what it replaced.
    prev: Option<(i64, Vec<u8>)>,
}

/// Proves that watches with `prev_kv` whose client reads nothing while much happens get all of it
/// when it reads again, late, with the right previous values, though there was a compaction
/// meanwhile of what they had got already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_17529_a_client_that_reads_late_misses_nothing() {
    let (told, changes, compacted) = starve(0).await;
    for watch in 0..WATCHES {
        assert_eq!(told.compacted(watch), None, "watch {watch}");
    }
    let late = check(&told, &changes, compacted);
    for kind in [EventType::Put, EventType::Delete] {
        let with_prev = |event: &&Event| event.prev_kv.is_some() && event.r#type() == kind;
        let count = late.iter().filter(with_prev).count();
        assert!(count >= WATCHES, "{count} events of {kind:?} with a previous value");
    }
}

/// Proves that such watches are told, if what they have not got yet is compacted: what each has got
/// is without a gap up to there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_17529_a_client_that_reads_too_late_is_told_of_the_compaction() {
    let (told, changes, compacted) = starve(ROUNDS - 1).await;
    let ended = (0..WATCHES).filter_map(|watch| told.compacted(watch)).collect::<Vec<_>>();
    assert!(!ended.is_empty(), "no watch was late enough");
    assert!(ended.iter().all(|at| *at == compacted), "{ended:?} are not r{compacted}");
    check(&told, &changes, compacted);
}

/// Opens the watches, reads nothing during all rounds, compacts what so many of them did (or, of the
/// first, the first writes), and reads what there is to read.
async fn starve(rounds_compacted: usize) -> (Told, Vec<Change>, i64) {
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let mut told = Told::open(&clients).await;
    for watch in 0..WATCHES {
        told.watch((key(watch).as_str(), ""), 2).await;
    }
    let mut changes = Vec::new();
    for _ in 0..ROUNDS {
        for watch in 0..WATCHES {
            change(&clients, watch, &mut changes).await;
        }
    }
    let last = changes.last().expect("there are changes").revision;
    let at = (changes.len() / ROUNDS * rounds_compacted).max(3);
    let compacted = changes[at].revision;
    compact(&clients, compacted, true).await;
    told.hear_upto(last).await;
    told.hear_rest().await;
    (told, changes, compacted)
}

fn key(watch: usize) -> String {
    format!("k{watch:02}")
}

/// Puts a key, puts it again, and deletes it.
async fn change(clients: &Clients, watch: usize, changes: &mut Vec<Change>) {
    let mut prev = None;
    for _ in 0..2 {
        let value = format!("{}-", changes.len()).into_bytes();
        let value = value.iter().copied().cycle().take(VALUE_BYTES).collect::<Vec<u8>>();
        let request = PutRequest {
            key: key(watch).into(),
            value: value.clone().into(),
            ..Default::default()
        };
        let answer = bounded(clients.clone().kv.put(request)).await.expect("a put").into_inner();
        let revision = answer.header.expect("a header").revision;
        let next = Some((revision, value.clone()));
        changes.push(Change { watch, revision, value: Some(value), prev });
        prev = next;
    }
    let revision = delete(clients, &key(watch)).await;
    changes.push(Change { watch, revision, value: None, prev });
}

/// Each watch told of its changes from the first on, all of them if it was not ended, with the
/// previous values but for those that are compacted. Returns all events.
fn check(told: &Told, changes: &[Change], compacted: i64) -> Vec<Event> {
    for watch in 0..WATCHES {
        let events = told.events(watch);
        let own: Vec<&Change> = changes.iter().filter(|it| it.watch == watch).collect();
        let is_whole = events.len() == own.len();
        assert!(is_whole || told.compacted(watch).is_some(), "watch {watch}: {}", events.len());
        assert!(events.len() <= own.len());
        for (event, change) in events.iter().zip(own) {
            check_event(event, change, compacted);
        }
    }
    (0..WATCHES).flat_map(|watch| told.events(watch)).cloned().collect()
}

fn check_event(event: &Event, change: &Change, compacted: i64) {
    let revision = change.revision;
    assert_eq!(revision_of(event), revision);
    let kind = if change.value.is_some() { EventType::Put } else { EventType::Delete };
    assert_eq!(event.r#type(), kind, "r{revision}");
    let value = event.kv.as_ref().map_or(&b""[..], |kv| &kv.value[..]);
    assert!(value == change.value.as_deref().unwrap_or_default(), "another value at r{revision}");
    let prev = event.prev_kv.as_ref().map(|kv| (kv.mod_revision, kv.value.to_vec()));
    let is_gone = prev.is_none() && revision - 1 < compacted;
    assert!(is_gone || prev == change.prev, "another previous value at r{revision}");
}
