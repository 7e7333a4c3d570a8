//! What the HTTP endpoints and the metrics learn from the node.

use api::etcdserverpb::{AlarmMember, AlarmType, Member, RangeRequest};
use raft::ServerNode;

use crate::config::Settings;
use crate::grpc::errors;
use crate::http::{Probe, Reading, Source};

/// The health endpoints' view.
#[derive(Clone)]
pub(super) struct NodeProbe {
    node: ServerNode,
}

impl NodeProbe {
    pub(super) fn new(node: ServerNode) -> Self {
        Self { node }
    }
}

impl Probe for NodeProbe {
    fn alarms(&self) -> Vec<AlarmType> {
        self.node.reader().alarms().iter().map(AlarmMember::alarm).collect()
    }

    fn has_leader(&self) -> bool {
        self.node.leader().is_some()
    }

    fn is_learner(&self) -> bool {
        self.node.status().is_learner
    }

    /// The server asks for itself: with auth on, that nobody reads without a name is an answer too,
    /// and one of a member that works.
    async fn read(&self, serializable: bool) -> Result<(), String> {
        if !serializable {
            self.node.linearizable().await.map_err(errors::text)?;
        }
        let any_key = RangeRequest { key: vec![0].into(), ..Default::default() };
        match self.node.reader().range(None, &any_key) {
            Ok(_) | Err(store::Error::UserEmpty) => Ok(()),
            Err(error) => Err(errors::text(error)),
        }
    }
}

/// The metrics' view.
pub(super) struct MemberMetrics {
    node: ServerNode,
    member_id: u64,
    quota_bytes: u64,
}

impl MemberMetrics {
    pub(super) fn new(node: &ServerNode, settings: &Settings) -> Self {
        Self {
            node: node.clone(),
            member_id: node.member_id(),
            quota_bytes: settings.limits.quota_bytes.unwrap_or(0),
        }
    }
}

impl Source for MemberMetrics {
    fn read(&self) -> Vec<Reading> {
        let mut readings = self.consensus();
        readings.extend(self.state());
        readings.extend(self.work());
        readings.extend(self.watches());
        readings.extend(self.known_peers());
        readings.extend(self.identity());
        readings
    }
}

impl MemberMetrics {
    fn identity(&self) -> Vec<Reading> {
        let one = |name, help| Reading::gauge(name, help, 1.0);
        vec![
            one("etcd_server_id", "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.")
                .labelled("server_id", format!("{:x}", self.member_id)),
            one("etcd_server_version", "Which version is running. 1 for 'server_version' label with current version.")
                .labelled("server_version", crate::ETCD_VERSION),
            one("etcd_cluster_version", "Which version is running. 1 for 'cluster_version' label with current cluster version")
                .labelled("cluster_version", cluster_version_label()),
            Reading::gauge(
                "etcd_server_quota_backend_bytes",
                "Current backend storage quota size in bytes.",
                float(self.quota_bytes),
            ),
        ]
    }

    fn consensus(&self) -> Vec<Reading> {
        let status = self.node.status();
        let leads = status.leader == Some(self.member_id);
        let truth =
            |name, help, value: bool| Reading::gauge(name, help, f64::from(u8::from(value)));
        vec![
            truth(
                "etcd_server_has_leader",
                "Whether or not a leader exists. 1 is existence, 0 is not.",
                status.leader.is_some(),
            ),
            truth(
                "etcd_server_is_leader",
                "Whether or not this member is a leader. 1 if is, 0 otherwise.",
                leads,
            ),
            truth(
                "etcd_server_is_learner",
                "Whether or not this member is a learner. 1 if is, 0 otherwise.",
                status.is_learner,
            ),
            Reading::gauge(
                "etcd_server_proposals_committed_total",
                "The total number of consensus proposals committed.",
                float(status.committed_index),
            ),
            Reading::gauge(
                "etcd_server_proposals_applied_total",
                "The total number of consensus proposals applied.",
                float(status.applied_index),
            ),
            Reading::gauge(
                "etcd_server_proposals_pending",
                "The current number of pending proposals to commit.",
                float(status.proposals_pending),
            ),
            Reading::counter(
                "etcd_server_proposals_failed_total",
                "The total number of failed proposals seen.",
                float(status.proposals_failed),
            ),
            Reading::counter(
                "etcd_server_leader_changes_seen_total",
                "The number of leader changes seen.",
                float(status.leader_changes),
            ),
            Reading::gauge(
                "etcd_disk_wal_write_bytes_total",
                "Total number of bytes written in WAL.",
                float(status.log.bytes_written),
            ),
        ]
    }

    fn work(&self) -> Vec<Reading> {
        let work = self.node.reader().work();
        let counter = |name, help, value| Reading::counter(name, help, float(value));
        let ranges = "Total number of ranges seen by this member.";
        let puts = "Total number of puts seen by this member.";
        let deletes = "Total number of deletes seen by this member.";
        let txns = "Total number of txns seen by this member.";
        vec![
            counter("etcd_mvcc_range_total", ranges, work.ranges),
            counter("etcd_mvcc_put_total", puts, work.puts),
            counter("etcd_mvcc_delete_total", deletes, work.deletes),
            counter("etcd_mvcc_txn_total", txns, work.txns),
            // Their names before 3.3, which old dashboards have.
            counter("etcd_debugging_mvcc_range_total", ranges, work.ranges),
            counter("etcd_debugging_mvcc_put_total", puts, work.puts),
            counter("etcd_debugging_mvcc_delete_total", deletes, work.deletes),
            counter("etcd_debugging_mvcc_txn_total", txns, work.txns),
            Reading::gauge(
                "etcd_debugging_mvcc_total_put_size_in_bytes",
                "The total size of put kv pairs seen by this member.",
                float(work.put_bytes),
            ),
            counter(
                "etcd_debugging_mvcc_db_compaction_keys_total",
                "Total number of db keys compacted.",
                work.compacted,
            ),
            counter(
                "etcd_debugging_lease_granted_total",
                "The total number of granted leases.",
                work.leases_granted,
            ),
            counter(
                "etcd_debugging_lease_revoked_total",
                "The total number of revoked leases.",
                work.leases_revoked,
            ),
        ]
    }

    fn known_peers(&self) -> Vec<Reading> {
        let others = self.node.members().into_iter().filter(|member| member.id != self.member_id);
        let known = |member: Member| {
            let help = "The current number of known peers.";
            Reading::gauge("etcd_network_known_peers", help, 1.0)
                .labelled("Local", format!("{:x}", self.member_id))
                .labelled("Remote", format!("{:x}", member.id))
        };
        others.map(known).collect()
    }

    fn watches(&self) -> Vec<Reading> {
        let stats = self.node.hub().stats();
        let gauge = |name, help, value: usize| Reading::gauge(name, help, float(value as u64));
        vec![
            gauge(
                "etcd_debugging_mvcc_watch_stream_total",
                "Total number of watch streams.",
                stats.streams,
            ),
            gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers.", stats.watchers),
            gauge(
                "etcd_debugging_mvcc_slow_watcher_total",
                "Total number of unsynced slow watchers.",
                stats.slow_watchers,
            ),
        ]
    }

    fn state(&self) -> Vec<Reading> {
        let reader = self.node.reader();
        let size = reader.size();
        let gauge = |name, help, value| Reading::gauge(name, help, value);
        let mut readings = vec![
            gauge(
                "etcd_mvcc_db_total_size_in_bytes",
                "Total size of the underlying database physically allocated in bytes.",
                float(size.engine_bytes),
            ),
            gauge(
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "Total size of the underlying database logically in use in bytes.",
                float(size.live_bytes),
            ),
            gauge(
                "etcd_debugging_mvcc_db_total_size_in_bytes",
                "Total size of the underlying database physically allocated in bytes.",
                float(size.engine_bytes),
            ),
            gauge(
                "etcd_debugging_auth_revision",
                "The current revision of auth store.",
                float(reader.auth().revision()),
            ),
            gauge("etcd_debugging_mvcc_keys_total", "Total number of keys.", float(size.keys)),
            gauge(
                "etcd_debugging_mvcc_current_revision",
                "The current revision of store.",
                signed_float(reader.revision()),
            ),
            gauge(
                "etcd_debugging_mvcc_compact_revision",
                "The revision of the last compaction in store.",
                signed_float(reader.compact_revision()),
            ),
        ];
        for alarm in reader.alarms() {
            readings.push(
                gauge("etcd_debugging_server_alarms", "Alarms for every member in cluster. 1 for 'server_id' label with current ID. 2 for 'alarm_type' label with type of this alarm", 1.0)
                    .labelled("server_id", format!("{:x}", alarm.member_id))
                    .labelled("alarm_type", alarm.alarm().as_str_name()),
            );
        }
        readings
    }
}

/// etcd labels it without the patch: `3.7`.
fn cluster_version_label() -> &'static str {
    crate::CLUSTER_VERSION.trim_end_matches(".0")
}

/// Prometheus knows floats alone; past 2^53 the last digits go, as in etcd.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows floats alone")]
fn float(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows floats alone")]
fn signed_float(value: i64) -> f64 {
    value as f64
}
