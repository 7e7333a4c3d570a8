//! Objects: made, changed, deleted, listed in pages, compacted.

use api::etcdserverpb::{
    CompactionRequest, LeaseGrantRequest, LeaseTimeToLiveRequest, RangeRequest, StatusRequest,
};
use testkit::{Clients, Program, Server, bounded, subject};
use tonic::Code;

use crate::calls::{
    at_version, create, pod, pods, put, range, read, remove, revision, txn, unchanged, update,
};

/// What a server answered, for comparison: both begin empty, so revisions are the same.
type Transcript = Vec<String>;

/// Proves that the whole life of objects, as kube-apiserver lives it, is the same on berth and on
/// etcd, revision for revision.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_live_as_on_etcd() {
    let mut seen = Vec::new();
    for program in [Program::etcd(), subject!()] {
        let server = Server::start(program, &[]).await;
        let clients = server.clients();
        let mut transcript = Transcript::new();
        probe(&clients).await;
        objects(&clients, &mut transcript).await;
        events(&clients, &mut transcript).await;
        pages(&clients, &mut transcript).await;
        compaction(&clients, &mut transcript).await;
        seen.push(transcript);
    }
    assert!(seen[0].len() > 20, "{seen:?}");
    assert_eq!(seen[0], seen[1]);
}

/// Before anything: is it alive, how large is it, which version is it.
async fn probe(clients: &Clients) {
    let health = RangeRequest { key: "/registry/health".into(), ..Default::default() };
    assert_eq!(range(clients, health).await.count, 0);
    let status = bounded(clients.maintenance.clone().status(StatusRequest {})).await.unwrap();
    let status = status.into_inner();
    assert!(status.db_size > 0);
    assert!(status.version.split('.').all(|part| part.parse::<u32>().is_ok()));
}

async fn objects(clients: &Clients, told: &mut Transcript) {
    let key = pod("a");
    let made = create(clients, &key, "1", 0).await;
    told.push(format!("created at {made}"));
    told.push(format!("again: {}", create(clients, &key, "other", 0).await));
    let more = |value: &str| format!("{value}+");
    let sure = update(clients, &key, made, more, "1".into()).await;
    told.push(format!("updated: {sure:?}"));
    let mistaken = update(clients, &key, made, more, "1".into()).await;
    told.push(format!("updated after a mistake: {mistaken:?}"));
    let got =
        range(clients, RangeRequest { key: key.clone().into(), limit: 1, ..Default::default() });
    told.push(format!("{:?}", got.await.kvs));
    let stale = txn(clients, unchanged(&key, made), remove(&key), Some(read(&key))).await;
    told.push(format!("deleted with an old revision: {stale:?}"));
    let gone = txn(clients, unchanged(&key, mistaken.1), remove(&key), Some(read(&key))).await;
    told.push(format!("deleted: {gone:?}"));
    let nothing = txn(clients, unchanged(&key, mistaken.1), remove(&key), Some(read(&key))).await;
    told.push(format!("deleted again: {nothing:?}"));
    told.push(format!("made anew at {}", create(clients, &key, "2", 0).await));
}

/// Events have a lease, which many of them share.
async fn events(clients: &Clients, told: &mut Transcript) {
    let mut lease = clients.lease.clone();
    let grant = LeaseGrantRequest { id: 77, ttl: 3780 };
    let granted = bounded(lease.lease_grant(grant)).await.unwrap().into_inner();
    told.push(format!("lease {} for {}", granted.id, granted.ttl));
    for number in 0..3 {
        let key = format!("/registry/events/default/e{number}");
        told.push(format!("event at {}", create(clients, &key, "e", granted.id).await));
    }
    let asked = LeaseTimeToLiveRequest { id: granted.id, keys: true };
    let held = bounded(lease.lease_time_to_live(asked)).await.unwrap().into_inner();
    // In no order of etcd's.
    let mut keys = held.keys;
    keys.sort_unstable();
    told.push(format!("{} {keys:?}", held.granted_ttl));
    // An update of an event takes the lease that is given with it.
    let key = "/registry/events/default/e0";
    let made = range(clients, RangeRequest { key: key.into(), ..Default::default() }).await;
    let made = made.kvs[0].mod_revision;
    let done = txn(clients, unchanged(key, made), put(key, "e2", 77), Some(read(key))).await;
    told.push(format!("{done:?}"));
}

/// A list in pages is of one revision, whatever is written between two of them.
async fn pages(clients: &Clients, told: &mut Transcript) {
    for number in 0..25 {
        create(clients, &pod(&format!("p{number:02}")), "v", 0).await;
    }
    let mut page = RangeRequest { limit: 10, ..pods() };
    loop {
        let found = range(clients, page.clone()).await;
        let names: Vec<_> = found.kvs.iter().map(|kv| kv.key.clone()).collect();
        told.push(format!("{names:?} of {}, more: {}", found.count, found.more));
        if page.revision == 0 {
            page.revision = found.header.unwrap().revision;
            told.push(format!("at {}", page.revision));
        }
        create(clients, &pod(&format!("between-{}", found.count)), "v", 0).await;
        let last = names.last().expect("a page has something").to_vec();
        if !found.more {
            break;
        }
        page.key = [&last[..], &[0]].concat().into();
    }
    let count = range(clients, RangeRequest { count_only: true, ..pods() }).await;
    told.push(format!("{} pods, {:?}", count.count, count.kvs));
    let keys = range(clients, RangeRequest { keys_only: true, limit: 3, ..pods() }).await;
    told.push(format!("{:?}", keys.kvs));
}

/// Every server tries to compact, and one does it.
async fn compaction(clients: &Clients, told: &mut Transcript) {
    let key = "compact_rev_key";
    let before = revision(clients).await;
    let first = txn(clients, at_version(key, 0), put(key, "0", 0), Some(read(key))).await;
    told.push(format!("the first wins: {first:?}"));
    let second = txn(clients, at_version(key, 0), put(key, "0", 0), Some(read(key))).await;
    told.push(format!("the second does not: {second:?}"));
    let next = txn(clients, at_version(key, 1), put(key, &before.to_string(), 0), None).await;
    told.push(format!("the next time: {next:?}"));
    let compact = |revision| {
        let mut kv = clients.kv.clone();
        async move {
            let request = CompactionRequest { revision, physical: false };
            let done = bounded(kv.compact(request)).await;
            done.map(drop).map_err(|status| (status.code(), status.message().to_owned()))
        }
    };
    told.push(format!("{:?} {:?}", compact(before).await, compact(before).await));
    let old = RangeRequest { revision: before - 1, ..pods() };
    let refused = bounded(clients.kv.clone().range(old)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    told.push(refused.message().to_owned());
    let kept = range(clients, RangeRequest { revision: before, limit: 1, ..pods() }).await;
    told.push(format!("{:?} of {}", kept.kvs, kept.count));
}
