//! The Grafana dashboard and the alert rules that the etcd project publishes, as far as they name
//! series: each has to be there, of the kind that the expressions take it for, and to move.

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest, RangeRequest,
    WatchCreateRequest, WatchRequest, WatchResponse,
};
use testkit::{Cluster, Place, bounded, eventually, subject};
use tokio_stream::StreamExt;
use tonic::Streaming;

use crate::page::{self, Page};

/// Of every member: name, kind, what the expressions select or sum by, and whether it has to be above
/// zero on each member after a load. All are there before anything is counted: the first failure has
/// to be a step, and the difference of two sums needs both.
const SERIES: &[(&str, &str, &[&str], bool)] = &[
    // Alerts: members down, no leader, many changes of leader, failed proposals.
    ("etcd_server_has_leader", "gauge", &[], true),
    ("etcd_server_leader_changes_seen_total", "counter", &[], true),
    ("etcd_server_proposals_failed_total", "counter", &[], false),
    ("etcd_network_peer_sent_failures_total", "counter", &["To=\""], false),
    // Alerts: failed and slow calls.
    ("grpc_server_handled_total", "counter", &["grpc_code=\"OK\""], true),
    ("grpc_server_handled_total", "counter", &["grpc_service=\"etcdserverpb.KV\""], true),
    ("grpc_server_handling_seconds", "histogram", &["grpc_method=\"Put\"", UNARY], true),
    // Alerts: slow network between members, slow disks.
    // Measured where entries are sent: at the leader.
    ("etcd_network_peer_round_trip_time_seconds", "histogram", &["To=\""], false),
    ("etcd_disk_wal_fsync_duration_seconds", "histogram", &[], true),
    ("etcd_disk_backend_commit_duration_seconds", "histogram", &[], true),
    // Alerts: space.
    ("etcd_mvcc_db_total_size_in_bytes", "gauge", &[], true),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", "gauge", &[], true),
    ("etcd_server_quota_backend_bytes", "gauge", &[], true),
    // Alerts of older rules: files.
    ("process_open_fds", "gauge", &[], true),
    ("process_max_fds", "gauge", &[], true),
    // The dashboard: rates of calls, and streams that are open.
    ("grpc_server_started_total", "counter", &[UNARY], true),
    ("grpc_server_started_total", "counter", &[WATCH, BIDI], true),
    ("grpc_server_handled_total", "counter", &[WATCH, BIDI], false),
    ("grpc_server_started_total", "counter", &[LEASE, BIDI], true),
    ("grpc_server_handled_total", "counter", &[LEASE, BIDI], false),
    // The rest of it.
    ("process_resident_memory_bytes", "gauge", &[], true),
    ("process_cpu_seconds_total", "counter", &[], true),
    ("process_start_time_seconds", "gauge", &[], true),
    ("etcd_network_client_grpc_received_bytes_total", "counter", &[], true),
    ("etcd_network_client_grpc_sent_bytes_total", "counter", &[], true),
    ("etcd_network_peer_received_bytes_total", "counter", &["From=\""], true),
    ("etcd_network_peer_sent_bytes_total", "counter", &["To=\""], true),
    ("etcd_server_proposals_committed_total", "gauge", &[], true),
    ("etcd_server_proposals_applied_total", "gauge", &[], true),
    ("etcd_server_proposals_pending", "gauge", &[], false),
    ("etcd_server_version", "gauge", &["server_version=\""], true),
    ("etcd_server_id", "gauge", &["server_id=\""], true),
    ("etcd_debugging_mvcc_keys_total", "gauge", &[], true),
    ("etcd_debugging_mvcc_watcher_total", "gauge", &[], true),
    ("etcd_debugging_mvcc_slow_watcher_total", "gauge", &[], false),
    ("etcd_debugging_mvcc_watch_stream_total", "gauge", &[], true),
    ("etcd_mvcc_put_total", "counter", &[], true),
    ("etcd_mvcc_range_total", "counter", &[], true),
    ("etcd_mvcc_delete_total", "counter", &[], true),
    ("etcd_mvcc_txn_total", "counter", &[], false),
];

const UNARY: &str = "grpc_type=\"unary\"";
const BIDI: &str = "grpc_type=\"bidi_stream\"";
const WATCH: &str = "grpc_service=\"etcdserverpb.Watch\"";
const LEASE: &str = "grpc_service=\"etcdserverpb.Lease\"";

/// What the alert for failed calls, and the panel beside it, select.
const FAILURES: [&str; 7] = [
    "grpc_code=\"Unknown\"",
    "grpc_code=\"FailedPrecondition\"",
    "grpc_code=\"ResourceExhausted\"",
    "grpc_code=\"Internal\"",
    "grpc_code=\"Unavailable\"",
    "grpc_code=\"DataLoss\"",
    "grpc_code=\"DeadlineExceeded\"",
];

/// What is wrong with one of the series.
fn fault(page: &Page, name: &str, kind: &str, selectors: &[&str], moves: bool) -> Option<String> {
    if page.kinds.get(name).map(String::as_str) != Some(kind) {
        return Some(format!("{name} is {:?} and no {kind}", page.kinds.get(name)));
    }
    let suffixes = if kind == "histogram" { &["_bucket", "_sum", "_count"][..] } else { &[""] };
    for suffix in suffixes {
        let whole = format!("{name}{suffix}");
        let values = page.values(&whole, selectors);
        if values.is_empty() {
            return Some(format!("{whole} has no sample with {selectors:?}"));
        }
        if moves && values.iter().all(|value| *value <= 0.0) {
            return Some(format!("{whole} with {selectors:?} is zero everywhere"));
        }
    }
    None
}

/// What is wrong with all of them; `loaded`: after a load.
fn faults(page: &Page, loaded: bool) -> Result<(), String> {
    let listed = SERIES.iter().filter_map(|(name, kind, selectors, moves)| {
        fault(page, name, kind, selectors, *moves && loaded)
    });
    let failures = FAILURES.iter().flat_map(|code| {
        [UNARY, BIDI]
            .map(|kind| fault(page, "grpc_server_handled_total", "counter", &[*code, kind], false))
    });
    let all: Vec<String> = listed.chain(failures.flatten()).collect();
    if all.is_empty() { Ok(()) } else { Err(all.join("\n")) }
}

/// The panel of active streams.
fn active(page: &Page, service: &str) -> Option<f64> {
    let sum = |name| page.sum(name, &[service, BIDI]);
    Some(sum("grpc_server_started_total")? - sum("grpc_server_handled_total")?)
}

/// Some of everything that the series count, by every member. The watches, which are counted as
/// long as they are held.
async fn load(cluster: &Cluster) -> Vec<Streaming<WatchResponse>> {
    let mut watches = Vec::new();
    for at in 0..3 {
        let mut clients = cluster.clients(at);
        let create = WatchCreateRequest { key: "k".into(), ..Default::default() };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let requests = tokio_stream::iter([create]).chain(tokio_stream::pending());
        let mut watch = bounded(clients.watch.watch(requests)).await.unwrap().into_inner();
        assert!(bounded(watch.message()).await.unwrap().unwrap().created);
        let id = 1 + i64::try_from(at).unwrap();
        let grant = LeaseGrantRequest { id, ttl: 600 };
        bounded(clients.lease.lease_grant(grant)).await.unwrap();
        let alive = tokio_stream::iter([LeaseKeepAliveRequest { id }]);
        let mut alive = bounded(clients.lease.lease_keep_alive(alive)).await.unwrap().into_inner();
        assert!(bounded(alive.message()).await.unwrap().unwrap().ttl > 0);
        for number in 0..20 {
            let put = PutRequest { key: format!("k{number}").into(), ..Default::default() };
            bounded(clients.kv.put(put)).await.unwrap();
        }
        let range = RangeRequest { key: "k1".into(), ..Default::default() };
        bounded(clients.kv.range(range)).await.unwrap();
        let delete = DeleteRangeRequest { key: "k1".into(), ..Default::default() };
        bounded(clients.kv.delete_range(delete)).await.unwrap();
        watches.push(watch);
    }
    watches
}

/// Proves that every series in the expressions of etcd's dashboard and alerts is found on each
/// member of a cluster, with the kind and the labels that they need, from the start on; and that the
/// panel of active streams counts those that are open, before one of them has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_and_alerts_find_their_series() {
    let places = (0..3).map(|_| Place::loopback()).collect();
    let cluster = Cluster::start_with(subject!(), places, &["--metrics=extensive"]).await;
    let page_of = async |at: usize| page::metrics(&cluster.member(at).endpoint()).await;
    for at in 0..3 {
        eventually("every series begins", 60, async || faults(&page_of(at).await, false)).await;
    }
    let _watches = load(&cluster).await;
    let mut round_trips = 0;
    for at in 0..3 {
        let name = "etcd_network_peer_round_trip_time_seconds";
        let moves = fault(&page_of(at).await, name, "histogram", &["To=\""], true).is_none();
        round_trips += usize::from(moves);
        eventually("every series is there", 60, async || faults(&page_of(at).await, true)).await;
        eventually("the open streams", 60, async || {
            let page = page_of(at).await;
            match (active(&page, WATCH), active(&page, LEASE)) {
                (Some(1.0), Some(0.0)) => Ok(()),
                other => Err(format!("watches and keep-alives: {other:?}")),
            }
        })
        .await;
    }
    assert!(round_trips > 0, "the leader measures its way to the others");
}

/// Proves that the alert for a lost leader fires on who is left without a majority, and ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_left_alone_says_that_there_is_no_leader() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let (left, gone) = (0, [1, 2]);
    for (says, leads) in [(1.0, true), (0.0, false), (1.0, true)] {
        for at in gone {
            match (leads, cluster.member_mut(at).is_running()) {
                (true, false) => cluster.member_mut(at).launch(),
                (false, true) => cluster.member_mut(at).kill(),
                _ => {}
            }
        }
        eventually("what is said of the leader", 60, async || {
            let page = page::metrics(&cluster.member(left).endpoint()).await;
            let said = page.values("etcd_server_has_leader", &[]);
            if said == [says] { Ok(()) } else { Err(format!("{said:?}, not {says}")) }
        })
        .await;
    }
}
