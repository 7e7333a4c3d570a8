//! What a node is started with, and the bounds it keeps.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::berthpb::Command;
use store::Applied;

use crate::error::Error;
use crate::peer::Limits;
use crate::wal;

/// See [`Config::log_stall_max`].
const LOG_STALL_MIN: Duration = Duration::from_secs(5);

/// Bytes of commands proposed and not yet answered (etcd bounds their number, 5,000).
const INFLIGHT_BYTES_MAX: usize = 256 << 20;
/// Memory of the engine's own cache.
const ENGINE_CACHE_BYTES: usize = 64 << 20;
/// No snapshot before the log has grown by this much.
const SNAPSHOT_LOG_BYTES_MIN: u64 = 64 << 20;
/// How fast a snapshot may be written.
const SNAPSHOT_BYTES_PER_S_MAX: u64 = 64 << 20;
/// Bytes of encoded log entries kept by the WAL, beside the decoded ones of the log store.
const WAL_CACHE_BYTES: usize = 8 << 20;
/// etcd's defaults.
const HEARTBEAT_MS: u64 = 100;
const ELECTION_MS: u64 = 1000;
/// See [`Config::leader_lease_ms`].
const LEADER_LEASE_PERCENT: u64 = 60;
const ELECTION_MIN_PERCENT: u64 = 30;
/// How long a follower may take to write entries down before its leader tries another stream.
const APPEND_ANSWER_MAX: Duration = Duration::from_secs(10);
/// Entries in one message; bytes are bounded where the log is read.
const PAYLOAD_ENTRIES_MAX: u64 = 4096;
/// What etcd adds to two election timeouts when it waits for a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// As in etcd, where it is on.
const LEASE_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);

/// A member of the first membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    pub id: u64,
    pub name: String,
    pub peer_urls: Vec<String>,
}

/// Whoever is told about every write of the log.
#[derive(Clone)]
pub struct LogObserver(pub Arc<dyn wal::Observer>);

impl fmt::Debug for LogObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogObserver")
    }
}

/// Learns from every command that this member applies, in order, those of the log that a start
/// applies again included. All calls come from the task that applies: they must never block.
pub trait Observe: Send + Sync {
    /// The command was applied, and this is its answer; whoever proposed it is told afterwards.
    /// `again`: it was in the log when the node started, however long ago it was given, and may have
    /// been applied before.
    fn applied(&self, command: &Command, applied: &Applied, again: bool);

    /// The entry at `index` changed the membership: in each of the sets of voters a majority decides.
    fn members_changed(&self, _index: u64, _voters: &[BTreeSet<u64>]) {}

    /// The whole state was replaced by a snapshot: what was learned may not be so any more.
    fn replaced(&self);
}

/// Follows one proposal through the member that leads and took it. The calls come from the tasks that
/// do the work, in this order: they must never block. It keeps its own time, as all of the log's
/// observers do.
pub trait Trail: Send + Sync {
    /// Its entry is in this member's log for good. Told on the thread that writes the log, right
    /// after [`wal::Observer::sync_finished`] of the write that carried it.
    fn written(&self);

    /// It is committed, and the state machine takes it up.
    fn applying(&self);

    /// Readers see what it changed.
    fn applied(&self);
}

/// Whoever learns from what is applied.
#[derive(Clone)]
pub struct AppliedObserver(pub Arc<dyn Observe>);

impl fmt::Debug for AppliedObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppliedObserver")
    }
}

/// What a node is started with. Take [`Config::new`] and change what must differ.
#[derive(Clone, Debug)]
pub struct Config {
    /// Holds the lock, the engine (`db`) and the snapshots (`snap`).
    pub data_dir: PathBuf,
    /// Holds the log's segments and nothing else.
    pub wal_dir: PathBuf,
    pub cluster_id: u64,
    pub member_id: u64,
    /// A number that no other start of any member has: it tells this start's commands, and a new
    /// data directory, from all others.
    pub nonce: u64,
    /// All members of a cluster that does not exist yet; empty: this member joins one that does.
    /// Once it has met its cluster, it is not looked at.
    pub members: Vec<InitialMember>,
    /// Make this member the only one, whatever the log says of others: the last resort when a
    /// majority is lost for good. The others must never run again.
    pub force_new_cluster: bool,
    /// Refuse changes of membership after which too few members would be running.
    pub strict_reconfig: bool,
    /// Learners at a time, not counting members that become voters by themselves.
    pub learners_max: usize,
    /// Make voters of learners as soon as they have caught up.
    pub auto_promote: bool,
    pub heartbeat_ms: u64,
    /// The shortest election timeout; the longest is twice as long.
    pub election_ms: u64,
    pub store: store::Options,
    pub watch: watch::Options,
    pub engine_cache_bytes: usize,
    /// Commands proposed and not yet answered, in encoded bytes; past it callers are refused.
    pub inflight_bytes_max: usize,
    /// A snapshot is due when the log since the last one exceeds half the state, and this.
    pub snapshot_log_bytes_min: u64,
    /// How fast snapshots are written; `None`: as fast as it goes.
    pub snapshot_bytes_per_s_max: Option<u64>,
    /// Never sync the log. A power failure then loses data, or the whole log.
    pub unsafe_no_fsync: bool,
    /// How long the log goes without what is left of a long lease, with which a later leader begins;
    /// `None`: for ever, and it begins with the whole time to live.
    pub lease_checkpoint_interval: Option<Duration>,
    /// How often the members are compared; `None`: never.
    pub corrupt_check_interval: Option<Duration>,
    /// Told about every write of the log: the place for histograms.
    pub log_observer: Option<LogObserver>,
    /// Told of every command that was applied.
    pub on_applied: Option<AppliedObserver>,
    /// Encoded log entries kept in memory.
    pub wal_cache_bytes: usize,
    /// A segment of the log is closed when it has so many bytes.
    pub wal_segment_bytes: u64,
    /// The log's files grow in steps of so many bytes.
    pub wal_allocate_bytes: u64,
}

impl Config {
    /// With etcd's defaults, and the log beneath `data_dir`.
    pub fn new(
        data_dir: PathBuf,
        cluster_id: u64,
        member_id: u64,
        members: Vec<InitialMember>,
    ) -> Config {
        Config {
            wal_dir: data_dir.join("wal"),
            data_dir,
            cluster_id,
            member_id,
            nonce: 0,
            members,
            force_new_cluster: false,
            strict_reconfig: true,
            learners_max: 1,
            auto_promote: false,
            heartbeat_ms: HEARTBEAT_MS,
            election_ms: ELECTION_MS,
            store: store::Options::default(),
            watch: watch::Options::default(),
            engine_cache_bytes: ENGINE_CACHE_BYTES,
            inflight_bytes_max: INFLIGHT_BYTES_MAX,
            snapshot_log_bytes_min: SNAPSHOT_LOG_BYTES_MIN,
            snapshot_bytes_per_s_max: Some(SNAPSHOT_BYTES_PER_S_MAX),
            unsafe_no_fsync: false,
            lease_checkpoint_interval: Some(LEASE_CHECKPOINT_INTERVAL),
            corrupt_check_interval: None,
            log_observer: None,
            on_applied: None,
            wal_cache_bytes: WAL_CACHE_BYTES,
            wal_segment_bytes: wal::SEGMENT_BYTES_DEFAULT,
            wal_allocate_bytes: wal::ALLOCATE_BYTES_DEFAULT,
        }
    }

    /// How long a follower stands by a leader that it hears nothing from; openraft then waits
    /// between [`ELECTION_MIN_PERCENT`] of an election timeout and this time once more before it
    /// stands for election. With etcd's defaults that is 0.9 to 1.2 s after the last heartbeat;
    /// etcd itself waits 1 to 2 s.
    fn leader_lease_ms(&self) -> u64 {
        self.election_ms * LEADER_LEASE_PERCENT / 100
    }

    /// A leader that was not heard for so long is lost, to clients that ask whether there is one.
    pub(crate) fn leader_lost_after(&self) -> Duration {
        Duration::from_millis(2 * self.leader_lease_ms())
    }

    /// How long after a break in the way to the leader an outcome may still come by the log.
    pub(crate) fn outcome_grace(&self) -> Duration {
        Duration::from_millis(2 * self.election_ms)
    }

    /// How long a leader's disk may take nothing of what waits for it: longer than a busy one needs,
    /// however quick the elections are.
    pub(crate) fn log_stall_max(&self) -> Duration {
        Duration::from_millis(5 * self.election_ms).max(LOG_STALL_MIN)
    }

    pub(crate) fn limits(&self) -> Limits {
        let append_answer = APPEND_ANSWER_MAX.max(Duration::from_millis(4 * self.election_ms));
        let snapshot_bytes_per_s_max = self.snapshot_bytes_per_s_max;
        Limits { append_answer, snapshot_bytes_per_s_max }
    }

    /// How long a request may wait for its entry to be applied, as etcd reckons it.
    pub(crate) fn request_timeout(&self) -> Duration {
        REQUEST_TIMEOUT + 2 * Duration::from_millis(self.election_ms)
    }

    /// The shortest time to live that a lease gets, in seconds: an election and a half, so that a
    /// lease outlives the loss of a leader. As etcd reckons it.
    pub fn lease_ttl_s_min(&self) -> i64 {
        let ticks = self.election_ms / self.heartbeat_ms.max(1);
        let shortest_ms = 3 * ticks / 2 * self.heartbeat_ms;
        i64::try_from(shortest_ms.div_ceil(1000)).unwrap_or(i64::MAX)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let refused = |message: String| Err(Error::Refused(message));
        if !self.members.is_empty() && self.members.iter().all(|it| it.id != self.member_id) {
            return refused(format!("member {:x} is not among the first members", self.member_id));
        }
        if self.heartbeat_ms == 0 || self.election_ms < 5 * self.heartbeat_ms {
            return refused(format!(
                "election timeout {} ms should be at least 5 times the heartbeat interval {} ms",
                self.election_ms, self.heartbeat_ms
            ));
        }
        Ok(())
    }

    /// In openraft's terms.
    pub(crate) fn openraft(&self) -> Result<openraft::Config, Error> {
        let config = openraft::Config {
            cluster_name: format!("{:x}", self.cluster_id),
            heartbeat_interval: self.heartbeat_ms,
            election_timeout_min: self.election_ms * ELECTION_MIN_PERCENT / 100,
            election_timeout_max: self.leader_lease_ms(),
            // A leader that its majority has left must not keep a connected one from electing.
            quorum_loss_probe_interval: Some(2 * self.leader_lease_ms()),
            // By bytes, where the log is read.
            max_payload_entries: PAYLOAD_ENTRIES_MAX,
            // A member that lags gets the log for as long as the leader has it.
            replication_lag_threshold: u64::MAX,
            broadcast_submitted_on_append: Some(true),
            // Both by bytes, in `snapshotter.rs`.
            snapshot_policy: openraft::SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            // A leader restored without an election has no entry of its term to commit what it
            // finds in its log, and could answer from a state that is behind.
            enable_leader_restore: Some(false),
            enable_pre_vote: Some(true),
            ..openraft::Config::default()
        };
        config.validate().map_err(|error| Error::Refused(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(count: u64) -> Config {
        let member = |id| InitialMember { id, name: String::new(), peer_urls: Vec::new() };
        Config::new(PathBuf::from("d"), 1, 1, (1..=count).map(member).collect())
    }

    #[test]
    fn leases_outlive_an_election() {
        // Proves etcd's shortest lease with etcd's default timers: 1.5 s, rounded up.
        assert_eq!(config(1).lease_ttl_s_min(), 2);
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        // Proves that the defaults are accepted, and that a cluster of others or odd timers are not.
        for count in 0..=5 {
            config(count).check().unwrap();
            config(count).openraft().unwrap();
        }
        let stranger = Config { member_id: 9, ..config(3) };
        assert!(stranger.check().unwrap_err().to_string().contains("member 9"));
        let hasty = Config { election_ms: 400, ..config(1) };
        assert!(hasty.check().unwrap_err().to_string().contains("election timeout"));
    }
}
