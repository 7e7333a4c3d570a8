//! The Grafana dashboard and the alert rules that the etcd project publishes, as far as they name
//! series: each has to be there, of the kind that the expressions take it for, and to move.

use std::collections::BTreeMap;

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest, RangeRequest,
    WatchCreateRequest, WatchRequest, WatchResponse,
};
use testkit::{Cluster, Place, bounded, eventually, subject};
use tokio_stream::StreamExt;
use tonic::Streaming;

use crate::page;

/// Of every member: name, kind, a label that the expressions select or sum by, and whether it has to
/// be above zero on each member after a load.
const SERIES: &[(&str, &str, &str, bool)] = &[
    // Alerts: members down, no leader, many changes of leader, failed proposals.
    ("etcd_server_has_leader", "gauge", "", true),
    ("etcd_server_leader_changes_seen_total", "counter", "", true),
    ("etcd_server_proposals_failed_total", "counter", "", false),
    ("etcd_network_peer_sent_failures_total", "counter", "To", false),
    // Alerts: failed and slow calls.
    ("grpc_server_handled_total", "counter", "grpc_code", true),
    ("grpc_server_handled_total", "counter", "grpc_service", true),
    ("grpc_server_handling_seconds", "histogram", "grpc_method", true),
    // Alerts: slow network between members, slow disks.
    // Measured where entries are sent: at the leader.
    ("etcd_network_peer_round_trip_time_seconds", "histogram", "To", false),
    ("etcd_disk_wal_fsync_duration_seconds", "histogram", "", true),
    ("etcd_disk_backend_commit_duration_seconds", "histogram", "", true),
    // Alerts: space.
    ("etcd_mvcc_db_total_size_in_bytes", "gauge", "", true),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", "gauge", "", true),
    ("etcd_server_quota_backend_bytes", "gauge", "", true),
    // Alerts of older rules: files.
    ("process_open_fds", "gauge", "", true),
    ("process_max_fds", "gauge", "", true),
    // The dashboard.
    ("grpc_server_started_total", "counter", "grpc_type", true),
    ("grpc_server_started_total", "counter", "grpc_service", true),
    ("process_resident_memory_bytes", "gauge", "", true),
    ("process_cpu_seconds_total", "counter", "", true),
    ("process_start_time_seconds", "gauge", "", true),
    ("etcd_network_client_grpc_received_bytes_total", "counter", "", true),
    ("etcd_network_client_grpc_sent_bytes_total", "counter", "", true),
    ("etcd_network_peer_received_bytes_total", "counter", "From", true),
    ("etcd_network_peer_sent_bytes_total", "counter", "To", true),
    ("etcd_server_proposals_committed_total", "gauge", "", true),
    ("etcd_server_proposals_applied_total", "gauge", "", true),
    ("etcd_server_proposals_pending", "gauge", "", false),
    ("etcd_server_version", "gauge", "server_version", true),
    ("etcd_server_id", "gauge", "server_id", true),
    ("etcd_debugging_mvcc_keys_total", "gauge", "", true),
    ("etcd_debugging_mvcc_watcher_total", "gauge", "", true),
    ("etcd_debugging_mvcc_slow_watcher_total", "gauge", "", false),
    ("etcd_debugging_mvcc_watch_stream_total", "gauge", "", true),
    ("etcd_mvcc_put_total", "counter", "", true),
    ("etcd_mvcc_range_total", "counter", "", true),
    ("etcd_mvcc_delete_total", "counter", "", true),
    ("etcd_mvcc_txn_total", "counter", "", false),
];

/// What Prometheus understands of a page.
struct Page {
    kinds: BTreeMap<String, String>,
    /// Name with labels, and value.
    samples: Vec<(String, f64)>,
}

impl Page {
    fn parse(text: &str) -> Self {
        let mut page = Self { kinds: BTreeMap::new(), samples: Vec::new() };
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a kind");
                page.kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').expect("a name and a value");
                page.samples.push((name.to_owned(), value.parse().expect("a number")));
            }
        }
        page
    }

    /// What is wrong with one of the series.
    fn fault(&self, name: &str, kind: &str, label: &str, moves: bool) -> Option<String> {
        if self.kinds.get(name).map(String::as_str) != Some(kind) {
            return Some(format!("{name} is {:?} and no {kind}", self.kinds.get(name)));
        }
        let suffixes = if kind == "histogram" { &["_bucket", "_sum", "_count"][..] } else { &[""] };
        for suffix in suffixes {
            let whole = format!("{name}{suffix}");
            let own = |sample: &str| sample.split('{').next() == Some(whole.as_str());
            let selected =
                |sample: &str| label.is_empty() || sample.contains(&format!("{label}=\""));
            let values: Vec<f64> = self
                .samples
                .iter()
                .filter(|(sample, _)| own(sample) && selected(sample))
                .map(|(_, value)| *value)
                .collect();
            if values.is_empty() {
                return Some(format!("{whole} has no sample with the label {label:?}"));
            }
            if moves && values.iter().all(|value| *value <= 0.0) {
                return Some(format!("{whole} is zero everywhere"));
            }
        }
        None
    }
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
/// member of a cluster, with the kind and the labels that they need.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_and_alerts_find_their_series() {
    let places = (0..3).map(|_| Place::loopback()).collect();
    let cluster = Cluster::start_with(subject!(), places, &["--metrics=extensive"]).await;
    let _watches = load(&cluster).await;
    let page_of = async |at: usize| {
        let endpoint = cluster.member(at).endpoint();
        let port = endpoint.rsplit(':').next().and_then(|port| port.parse().ok());
        let (head, body) = page::get(port.expect("a port"), "/metrics").await;
        assert!(head.contains(" 200 "), "{head}");
        Page::parse(&String::from_utf8(body).unwrap())
    };
    let mut round_trips = 0;
    for at in 0..3 {
        let name = "etcd_network_peer_round_trip_time_seconds";
        let moves = page_of(at).await.fault(name, "histogram", "To", true).is_none();
        round_trips += usize::from(moves);
        eventually("every series is there", 60, async || {
            let page = page_of(at).await;
            let faults = SERIES
                .iter()
                .filter_map(|(name, kind, label, moves)| page.fault(name, kind, label, *moves));
            let faults: Vec<String> = faults.collect();
            if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
        })
        .await;
    }
    assert!(round_trips > 0, "the leader measures its way to the others");
}
