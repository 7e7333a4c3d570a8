//! Many leases at once: each ends, none early, and those that are kept alive stay.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::*;
use api::mvccpb::event::EventType;
use futures::StreamExt;
use testkit::{Clients, Server, bounded, env_number, subject};

use crate::store::{assert_serves, put_request};

/// A full run has 200,000.
const LEASES_DEFAULT: u64 = 10_000;
const TTL_S: i64 = 6;
/// Every so manieth lease has a key, whose deletion tells when it ended.
const KEY_EVERY: u64 = 10;
const GRANTS_AT_ONCE: usize = 128;
const KEPT: usize = 50;
/// Etcd revokes at most 1,000 leases a second, and a busy machine fewer.
const LATE_MAX: Duration = Duration::from_secs(120);

/// Proves that leases end by themselves, never before their time, and that renewing keeps them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_leases_end_and_none_early() {
    let count = env_number("BERTH_LEASES", LEASES_DEFAULT);
    let mut server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let kept = grant_all(&clients, KEPT as u64, 0).await;
    let keeper = tokio::spawn(keep_alive(server.clients(), kept.keys().copied().collect()));
    let ended = tokio::spawn(deletions(server.clients(), count / KEY_EVERY));
    let granted = grant_all(&clients, count, KEY_EVERY).await;
    let patience = LATE_MAX + Duration::from_millis(count);
    let ended = tokio::time::timeout(patience, ended).await.expect("all leases end in time");
    let mut latest = Duration::ZERO;
    for (lease, at) in ended.expect("the watch does not fail") {
        let age = at - granted[&lease];
        let ttl = Duration::from_secs(TTL_S.unsigned_abs());
        assert!(age >= ttl, "lease {lease:x} ended after {age:?}, its TTL was {ttl:?}");
        latest = latest.max(age.saturating_sub(ttl));
    }
    wait_for_the_kept(&clients, kept.len(), patience).await;
    keeper.abort();
    println!("{count} leases, the last key deleted {latest:?} after its lease's time");
    assert_serves(&mut server).await;
}

/// Grants leases, every `key_every`th with a key; when each was asked for, by its id.
async fn grant_all(clients: &Clients, count: u64, key_every: u64) -> HashMap<i64, Instant> {
    let grants = futures::stream::iter(0..count).map(|number| {
        let mut clients = clients.clone();
        async move {
            let asked = Instant::now();
            let request = LeaseGrantRequest { ttl: TTL_S, id: 0 };
            let answer = bounded(clients.lease.lease_grant(request)).await;
            let id = answer.expect("a lease").into_inner().id;
            if key_every > 0 && number.is_multiple_of(key_every) {
                let put = PutRequest { lease: id, ..put_request(&format!("lease/{id}"), "v") };
                bounded(clients.kv.put(put)).await.expect("a put with a lease");
            }
            (id, asked)
        }
    });
    grants.buffer_unordered(GRANTS_AT_ONCE).collect().await
}

/// Watches until `count` keys of leases were deleted; when each was.
async fn deletions(mut clients: Clients, count: u64) -> Vec<(i64, Instant)> {
    let create = WatchCreateRequest {
        key: "lease/".into(),
        range_end: "lease0".into(),
        start_revision: 1,
        ..Default::default()
    };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests = futures::stream::iter([create]).chain(futures::stream::pending());
    let answers = clients.watch.watch(requests).await.expect("a watch stream opens");
    let mut answers = answers.into_inner();
    let mut deleted = Vec::new();
    while (deleted.len() as u64) < count {
        let answer = answers.message().await.expect("the watch goes on").expect("no end");
        let now = Instant::now();
        for event in answer.events.iter().filter(|event| event.r#type() == EventType::Delete) {
            let key = event.kv.as_ref().map_or(&[][..], |kv| &kv.key[..]);
            let id = String::from_utf8_lossy(&key["lease/".len()..]).parse();
            deleted.push((id.expect("the key names its lease"), now));
        }
    }
    deleted
}

/// Renews each lease three times in its TTL, for ever.
async fn keep_alive(mut clients: Clients, leases: Vec<i64>) {
    let period = Duration::from_secs(TTL_S.unsigned_abs()) / 3;
    let requests = futures::stream::unfold(0, move |at| {
        let id = leases[at % leases.len()];
        let pause = period / u32::try_from(leases.len()).expect("few leases are kept");
        async move {
            tokio::time::sleep(pause).await;
            Some((LeaseKeepAliveRequest { id }, at + 1))
        }
    });
    let answers = clients.lease.lease_keep_alive(requests).await.expect("a stream opens");
    let mut answers = answers.into_inner();
    while let Some(answer) = answers.message().await.expect("the stream goes on") {
        assert_eq!(answer.ttl, TTL_S, "lease {:x} was renewed in time and is gone", answer.id);
    }
}

/// Waits until only those are left that are kept alive.
async fn wait_for_the_kept(clients: &Clients, kept: usize, patience: Duration) {
    let deadline = Instant::now() + patience;
    loop {
        let mut lease = clients.lease.clone();
        let answer = bounded(lease.lease_leases(LeaseLeasesRequest {})).await;
        let left = answer.expect("leases can be listed").into_inner().leases.len();
        assert!(left >= kept, "a lease that was kept alive is gone: {left} of {kept} left");
        if left == kept {
            return;
        }
        assert!(Instant::now() < deadline, "{left} leases left, {kept} are kept alive");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
