//! Every name on the page of Debian's etcd: it is here too, of the same kind, or it is listed with
//! what is asked in its place. What both count of the same calls is the same.

use std::collections::BTreeMap;

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    CompactionRequest, DefragmentRequest, HashKvRequest, HashRequest, LeaseGrantRequest,
    LeaseRevokeRequest, MemberPromoteRequest, PutRequest, RangeRequest, SnapshotRequest,
    WatchCreateRequest, WatchRequest,
};
use testkit::{Cluster, Kind, Program, bounded, eventually, subject};
use tokio_stream::StreamExt;

use crate::page::{self, Page};

/// Names of etcd that are not here, and why; a star stands for any end.
const ABSENT: &[(&str, &str)] = &[
    ("go_*", "the runtime of another language"),
    ("promhttp_*", "a library of another language"),
    ("etcd_server_go_version", "there is none"),
    ("etcd_grpc_proxy_*", "there is no proxy"),
    ("etcd_debugging_disk_backend_commit_*", "steps of bbolt's commits"),
    ("etcd_debugging_snap_save_*", "steps of etcd's own file"),
    ("etcd_snap_*", "the same"),
    ("etcd_debugging_store_*", "of the v2 API: /v2/stats/store has them"),
    ("etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds", "steps that pause nobody"),
    ("etcd_debugging_mvcc_db_compaction_total_duration_milliseconds", "steps beside the rest"),
    ("etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds", "the same"),
    ("etcd_debugging_mvcc_pending_events_total", "queues of watchers are counted in bytes"),
    ("etcd_debugging_lease_renewed_total", "grpc_server_msg_received_total of LeaseKeepAlive"),
    ("etcd_debugging_lease_ttl_total", "nothing decides by it"),
    ("etcd_debugging_server_lease_expired_total", "etcd_debugging_lease_revoked_total has them"),
    ("etcd_mvcc_db_open_read_transactions", "reads open no transaction"),
    ("etcd_server_heartbeat_send_failures_total", "etcd_network_peer_sent_failures_total"),
    ("etcd_server_snapshot_apply_in_progress_total", "etcd_network_snapshot_receive_*"),
    ("os_fd_*", "process_open_fds and process_max_fds"),
    ("process_virtual_memory_max_bytes", "the collector has none"),
];

/// What both count of the load below, by all members together.
const COUNTED: &[&str] = &[
    "etcd_debugging_lease_granted_total",
    "etcd_debugging_lease_revoked_total",
    "etcd_debugging_mvcc_delete_total",
    "etcd_debugging_mvcc_events_total",
    "etcd_debugging_mvcc_put_total",
    "etcd_debugging_mvcc_total_put_size_in_bytes",
    "etcd_disk_backend_defrag_duration_seconds_count",
    "etcd_disk_backend_snapshot_duration_seconds_count",
    "etcd_mvcc_delete_total",
    "etcd_mvcc_hash_duration_seconds_count",
    "etcd_mvcc_hash_rev_duration_seconds_count",
    "etcd_mvcc_put_total",
    "etcd_server_has_leader",
    "etcd_server_is_leader",
    "etcd_server_learner_promote_failures",
    "etcd_server_learner_promote_successes",
];

fn is_absent(name: &str) -> bool {
    ABSENT.iter().any(|(listed, _)| covers(listed, name))
}

fn covers(listed: &str, name: &str) -> bool {
    match listed.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == listed,
    }
}

/// One of each thing that is counted, at every member.
async fn load(cluster: &Cluster) {
    for at in 0..cluster.len() {
        let mut clients = cluster.clients(at);
        let (key, id) = (format!("key{at}"), 1 + i64::try_from(at).unwrap());
        bounded(clients.lease.lease_grant(LeaseGrantRequest { id, ttl: 600 })).await.unwrap();
        let create = WatchCreateRequest { key: key.clone().into(), ..Default::default() };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let requests = tokio_stream::iter([create]).chain(tokio_stream::pending());
        let mut watch = bounded(clients.watch.watch(requests)).await.unwrap().into_inner();
        assert!(bounded(watch.message()).await.unwrap().unwrap().created);
        let value = vec![b'v'; 100].into();
        let put = PutRequest { key: key.clone().into(), value, lease: id, ..Default::default() };
        bounded(clients.kv.put(put)).await.unwrap();
        // A delete, and an event of it.
        bounded(clients.lease.lease_revoke(LeaseRevokeRequest { id })).await.unwrap();
        let mut events = 0;
        while events < 2 {
            events += bounded(watch.message()).await.unwrap().unwrap().events.len();
        }
        let range = RangeRequest { key: key.into(), ..Default::default() };
        bounded(clients.kv.range(range)).await.unwrap();
        bounded(clients.maintenance.hash(HashRequest {})).await.unwrap();
        bounded(clients.maintenance.hash_kv(HashKvRequest { revision: 0 })).await.unwrap();
        bounded(clients.maintenance.defragment(DefragmentRequest {})).await.unwrap();
        let snapshot = bounded(clients.maintenance.snapshot(SnapshotRequest {})).await.unwrap();
        let mut snapshot = snapshot.into_inner();
        while bounded(snapshot.message()).await.unwrap().is_some() {}
        bounded(clients.cluster.member_promote(MemberPromoteRequest { id: 1 })).await.unwrap_err();
    }
    let compaction = CompactionRequest { revision: 5, physical: true };
    bounded(cluster.clients(0).kv.compact(compaction)).await.unwrap();
}

async fn pages(cluster: &Cluster) -> Vec<Page> {
    let mut pages = Vec::new();
    for endpoint in cluster.endpoints() {
        pages.push(page::metrics(&endpoint).await);
    }
    pages
}

fn counted(pages: &[Page]) -> BTreeMap<&'static str, f64> {
    let sum = |name: &'static str| pages.iter().filter_map(|page| page.sum(name, &[])).sum::<f64>();
    COUNTED.iter().map(|name| (*name, sum(name))).collect()
}

/// Proves that whoever asks for a series of etcd's finds it, or finds here why not; and that what is
/// counted of the same calls is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcds_names_are_here_or_explained() {
    let program = subject!();
    let is_berth = program.kind == Kind::Berth;
    let etcd = Cluster::start(Program::etcd(), 3).await;
    let subject = Cluster::start(program, 3).await;
    load(&etcd).await;
    load(&subject).await;
    let theirs = pages(&etcd).await;
    let expected = counted(&theirs);
    assert!(expected.values().filter(|sum| **sum == 0.0).count() <= 1, "{expected:?}");
    eventually("the same is counted", 60, async || {
        let actual = counted(&pages(&subject).await);
        let wrong: Vec<String> = expected
            .iter()
            .filter(|(name, sum)| actual[*name] != **sum)
            .map(|(name, sum)| format!("{name}: {}, etcd {sum}", actual[name]))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    })
    .await;
    if !is_berth {
        return;
    }
    let ours = pages(&subject).await;
    let mut wrong = Vec::new();
    for (name, kind) in theirs.iter().flat_map(|page| &page.kinds) {
        let here = ours.iter().find_map(|page| page.kinds.get(name));
        match (here, is_absent(name)) {
            (Some(own), false) if own == kind => {}
            (None, true) => {}
            (own, listed) => wrong.push(format!("{name}: {kind}, here {own:?}, listed: {listed}")),
        }
    }
    for (listed, _) in ABSENT {
        if !theirs[0].kinds.keys().any(|name| covers(listed, name)) {
            wrong.push(format!("{listed} is no name of etcd"));
        }
    }
    wrong.sort_unstable();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
