//! What other tools ask, call by call: flannel, CoreDNS, Vitess, Traefik and vulcand. (APISIX and
//! Patroni ask by JSON: see `tests/gateway`. confd's calls are made with the `etcd-client` crate, and
//! those of the v2 API are in `tests/v2`.)

use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, WatchCreateRequest,
};
use testkit::{Clients, Program, Server, bounded, subject};

use crate::calls::{at_version, put, range, read, txn};
use crate::watching::Watch;

/// What a server answered, for comparison: both begin empty, so revisions are the same.
type Transcript = Vec<String>;

/// Proves that each tool's sequence of calls is answered on berth as on etcd, revision for revision.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_are_answered_as_by_etcd() {
    let mut seen = Vec::new();
    for program in [Program::etcd(), subject!()] {
        let server = Server::start(program, &[]).await;
        let clients = server.clients();
        let mut told = Transcript::new();
        flannel(&clients, &mut told).await;
        coredns(&clients, &mut told).await;
        vitess(&clients, &mut told).await;
        vulcand(&clients, &mut told).await;
        traefik(&clients, &mut told).await;
        seen.push(told);
    }
    assert!(seen[0].len() > 20, "{seen:?}");
    assert_eq!(seen[0], seen[1]);
}

fn below(prefix: &str) -> RangeRequest {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().unwrap() += 1;
    RangeRequest { key: prefix.to_owned().into(), range_end: end.into(), ..Default::default() }
}

fn watch_below(prefix: &str, start_revision: i64) -> WatchCreateRequest {
    let RangeRequest { key, range_end, .. } = below(prefix);
    WatchCreateRequest { key, range_end, start_revision, ..Default::default() }
}

async fn write(clients: &Clients, key: &str, value: &str, lease: i64) -> i64 {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    let put = PutRequest { key, value, lease, ..Default::default() };
    let done = bounded(clients.kv.clone().put(put)).await.unwrap().into_inner();
    done.header.unwrap().revision
}

async fn delete(clients: &Clients, range: RangeRequest) -> i64 {
    let RangeRequest { key, range_end, .. } = range;
    let request = DeleteRangeRequest { key, range_end, ..Default::default() };
    bounded(clients.kv.clone().delete_range(request)).await.unwrap().into_inner().deleted
}

async fn grant(clients: &Clients, id: i64, ttl: i64) -> i64 {
    let request = LeaseGrantRequest { id, ttl };
    bounded(clients.lease.clone().lease_grant(request)).await.unwrap().into_inner().id
}

/// The whole seconds that a lease was granted for, and its keys.
async fn lease(clients: &Clients, id: i64) -> (i64, usize) {
    let asked = LeaseTimeToLiveRequest { id, keys: true };
    let told = bounded(clients.lease.clone().lease_time_to_live(asked)).await.unwrap();
    let told = told.into_inner();
    (told.granted_ttl, told.keys.len())
}

async fn revoke(clients: &Clients, id: i64) -> Result<(), String> {
    let revoked = bounded(clients.lease.clone().lease_revoke(LeaseRevokeRequest { id })).await;
    revoked.map(drop).map_err(|status| status.message().to_owned())
}

/// A subnet is taken under a lease, once; a loser's lease is given back. The watch is followed past a
/// compaction by listing again.
async fn flannel(clients: &Clients, told: &mut Transcript) {
    let (config, subnets) = ("/coreos.com/network/config", "/coreos.com/network/subnets/");
    write(clients, config, r#"{"Network":"10.5.0.0/16"}"#, 0).await;
    let key = RangeRequest { key: config.into(), ..Default::default() };
    told.push(format!("{:?}", range(clients, key).await.kvs));
    let listed = range(clients, below(subnets)).await;
    told.push(format!("{:?}", listed.kvs));
    let subnet = format!("{subnets}10.5.1.0-24");
    for (id, owner) in [(11, "first"), (12, "second")] {
        let id = grant(clients, id, 86_400).await;
        let taken = txn(clients, at_version(&subnet, 0), put(&subnet, owner, id), None).await;
        told.push(format!("{owner}: {taken:?}"));
        if !taken.0 {
            told.push(format!("{:?}", revoke(clients, id).await));
        }
    }
    told.push(format!("{:?} {:?}", lease(clients, 11).await, lease(clients, 12).await));
    // Renewed by another lease.
    let id = grant(clients, 13, 86_400).await;
    write(clients, &subnet, "first", id).await;
    told.push(format!("{:?} {:?}", lease(clients, 11).await, lease(clients, 13).await));
    let at = listed.header.unwrap().revision;
    let mut watch = Watch::of(clients, watch_below(subnets, at + 1)).await;
    told.push(format!("{:?}", watch.events(2).await));
    let revision = write(clients, "/other", "x", 0).await;
    let compaction = CompactionRequest { revision, physical: true };
    bounded(clients.kv.clone().compact(compaction)).await.unwrap();
    let mut late = Watch::of(clients, watch_below(subnets, at + 1)).await;
    let told_off = loop {
        let answer = late.next().await;
        if answer.canceled {
            break answer;
        }
    };
    told.push(format!("compacted at {}", told_off.compact_revision));
    told.push(format!("{:?}", range(clients, below(subnets)).await.kvs));
    told.push(format!("{}", delete(clients, below(&subnet)).await));
}

/// One name, and what lies below it; and how long the lease of a record lasts.
async fn coredns(clients: &Clients, told: &mut Transcript) {
    let id = grant(clients, 21, 300).await;
    let web = "/skydns/local/skydns/web";
    write(clients, &format!("{web}/x1"), r#"{"host":"1.1.1.1","ttl":60}"#, id).await;
    write(clients, &format!("{web}/x2"), r#"{"host":"1.1.1.2"}"#, 0).await;
    write(clients, "/skydns/local/skydns/webber", r#"{"host":"1.1.1.3"}"#, 0).await;
    let one = RangeRequest { key: web.into(), ..Default::default() };
    told.push(format!("{:?}", range(clients, one).await.kvs));
    told.push(format!("{:?}", range(clients, below(&format!("{web}/"))).await.kvs));
    told.push(format!("{:?}", lease(clients, id).await));
}

/// A lock: the key of lowest create revision below a path has it; who comes later waits for the one
/// before its own. And a file's version, as of which it is watched.
async fn vitess(clients: &Clients, told: &mut Transcript) {
    let path = "/vt/cells/zone1/keyspaces/ks/locks/";
    let mut made = Vec::new();
    for id in [31, 32] {
        let id = grant(clients, id, 30).await;
        let key = format!("{path}{id}");
        let done = txn(clients, at_version(&key, 0), put(&key, "locked", id), None).await;
        told.push(format!("{done:?}"));
        made.push((key, done.1));
    }
    // The last one of those that are older than one's own.
    let before = |revision: i64| RangeRequest {
        sort_order: SortOrder::Descend as i32,
        sort_target: SortTarget::Mod as i32,
        max_mod_revision: revision - 1,
        limit: 1,
        ..below(path)
    };
    told.push(format!("{:?}", range(clients, before(made[0].1)).await.kvs));
    let ahead = range(clients, before(made[1].1)).await;
    told.push(format!("{:?}", ahead.kvs));
    let first = WatchCreateRequest {
        key: made[0].0.clone().into(),
        start_revision: ahead.header.unwrap().revision,
        ..Default::default()
    };
    let mut watch = Watch::of(clients, first).await;
    let alive = LeaseKeepAliveRequest { id: 32 };
    let kept = clients.lease.clone().lease_keep_alive(tokio_stream::once(alive)).await.unwrap();
    let kept = bounded(kept.into_inner().message()).await.unwrap().unwrap();
    told.push(format!("{} for {}", kept.id, kept.ttl));
    told.push(format!("{:?}", revoke(clients, 31).await));
    told.push(format!("{:?}", watch.events(1).await));
    told.push(format!("{:?}", range(clients, before(made[1].1)).await.kvs));
    told.push(format!("{:?} {:?}", revoke(clients, 32).await, revoke(clients, 32).await));
    let file = "/vt/global/keyspaces/ks/Keyspace";
    let done = txn(clients, at_version(file, 0), put(file, "1", 0), None).await;
    told.push(format!("{done:?}"));
    let again = txn(clients, at_version(file, 0), put(file, "2", 0), Some(read(file))).await;
    told.push(format!("{again:?}"));
}

/// A configuration below a prefix, in order, and followed from there on; a server under a lease.
async fn vulcand(clients: &Clients, told: &mut Transcript) {
    let prefix = "/vulcand/";
    let id = grant(clients, 41, 60).await;
    for (key, lease) in [("frontends/f1", 0), ("backends/b1/backend", 0), ("servers/s1", id)] {
        write(clients, &format!("{prefix}{key}"), "{}", lease).await;
    }
    let sorted = RangeRequest {
        sort_order: SortOrder::Ascend as i32,
        sort_target: SortTarget::Key as i32,
        ..below(prefix)
    };
    let listed = range(clients, sorted).await;
    told.push(format!("{:?}", listed.kvs));
    let at = listed.header.unwrap().revision;
    let mut watch = Watch::of(clients, watch_below(prefix, at + 1)).await;
    told.push(format!("{}", delete(clients, below("/vulcand/frontends/")).await));
    told.push(format!("{:?}", revoke(clients, id).await));
    told.push(format!("{:?}", watch.events(2).await));
}

/// A key that is not there says that the store can be reached. Then a watch from now on, of any
/// member, and the whole list: at first, and again whenever the watch tells of something.
async fn traefik(clients: &Clients, told: &mut Transcript) {
    let (root, router) = ("traefik", "traefik/http/routers/web/rule");
    let probe = RangeRequest { key: "traefik/qmslkjdfmqlskdjfmqlksj".into(), ..Default::default() };
    told.push(format!("{:?}", range(clients, probe).await.kvs));
    write(clients, router, "Host(`a`)", 0).await;
    write(clients, "traefik/http/services/web/loadbalancer/servers/0/url", "http://1", 0).await;
    let mut watch = Watch::anywhere(clients, watch_below(root, 0)).await;
    told.push(format!("{:?}", watch.next().await.created));
    told.push(format!("{:?}", range(clients, below(root)).await.kvs));
    write(clients, router, "Host(`b`)", 0).await;
    told.push(format!("{:?}", watch.events(1).await));
    told.push(format!("{:?}", range(clients, below(root)).await.kvs));
    told.push(format!("{}", delete(clients, below("traefik/http/services/")).await));
    told.push(format!("{:?}", watch.events(1).await));
    told.push(format!("{:?}", range(clients, below(root)).await.kvs));
}
