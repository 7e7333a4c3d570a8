//! Data, addresses, limits.

use super::{Flag, accepted, refused, supported};
use crate::config::value::{Kind::*, UINT, UINT32};

const NO_BOLT: &str = "there is no bbolt file: state is written behind from the log";
const BY_BYTES: &str = "a snapshot is due by bytes of log, not by a count of entries";
const SMALL_STEPS: &str = "compaction runs in small steps of its own size, beside all requests";

#[rustfmt::skip] // one row, one line
pub(super) const FLAGS: &[Flag] = &[
    supported("name", Text, "default", "name of this member"),
    supported("data-dir", Text, "", "data directory (default: NAME.berth; NAME.etcd as `etcd`)"),
    supported("wal-dir", Text, "", "directory for the log alone (default: inside the data directory)"),
    supported("config-file", Text, "", "YAML or JSON file; with it, flags and environment are ignored"),
    supported("listen-peer-urls", Urls, "http://localhost:2380", "addresses for other members"),
    supported("listen-client-urls", Urls, "http://localhost:2379", "addresses for clients"),
    supported("listen-client-http-urls", Urls, "", "addresses for plain HTTP alone; moves it off the client addresses"),
    supported("heartbeat-interval", UINT, "100", "milliseconds between heartbeats"),
    supported("election-timeout", UINT, "1000", "milliseconds without a leader before an election"),
    supported("quota-backend-bytes", Int, "0", "live bytes after which writes are refused; 0: 2 GiB, negative: no quota"),
    supported("auto-disarm-nospace", Bool, "false", "lift the NOSPACE alarm once below the quota again (berth's own; on when started without arguments)"),
    supported("max-txn-ops", UINT32, "128", "operations in one transaction at most"),
    supported("max-request-bytes", UINT32, "1572864", "bytes in one request at most"),
    supported("max-concurrent-streams", UINT32, "4294967295", "streams on one connection at most"),
    supported("grpc-keepalive-interval", Duration, "2h", "time between pings to idle clients; 0: none"),
    supported("grpc-keepalive-timeout", Duration, "20s", "time a client has to answer a ping"),
    supported("socket-reuse-port", Bool, "false", "set SO_REUSEPORT on listeners"),
    supported("socket-reuse-address", Bool, "false", "set SO_REUSEADDR on listeners"),
    supported("lease-checkpoint-interval", Duration, "5m", "how often the log is told what is left of long leases, for a later leader; 0: never (berth's own)"),
    supported("watch-progress-notify-interval", Duration, "10m", "time between progress notifications of watches that asked for them"),
    supported("auto-compaction-mode", Choice(&["periodic", "revision"]), "periodic", "how to read auto-compaction-retention"),
    supported("auto-compaction-retention", Text, "0", "history to keep: hours or a duration, or a number of revisions; 0: all"),
    supported("unsafe-no-fsync", Bool, "false", "never wait for the disk; loses data when the machine stops"),
    supported("feature-gates", Text, "", "comma-separated Name=true|false"),
    accepted("snapshot-count", UINT, "10000", BY_BYTES),
    accepted("snapshot-catchup-entries", UINT, "5000", BY_BYTES),
    accepted("max-snapshots", UINT, "5", "the two newest snapshots are kept"),
    accepted("max-wals", UINT, "5", "log segments go when a durable snapshot covers them"),
    accepted("initial-election-tick-advance", Bool, "true", "a member alone elects itself at once"),
    accepted("backend-bbolt-freelist-type", Text, "map", NO_BOLT),
    accepted("backend-batch-interval", Duration, "0", NO_BOLT),
    accepted("backend-batch-limit", Int, "0", NO_BOLT),
    accepted("compaction-batch-limit", Int, "0", SMALL_STEPS),
    accepted("compaction-sleep-interval", Duration, "0", SMALL_STEPS),
    accepted("bootstrap-defrag-threshold-megabytes", UINT, "0", "space is reclaimed while serving"),
    accepted("grpc-keepalive-min-time", Duration, "5s", "clients may ping as often as they like"),
    accepted("downgrade-check-time", Duration, "5s", "there is no older version to go down to"),
    accepted("warning-apply-duration", Duration, "100ms", "no warnings are given by apply time"),
    supported("enable-grpc-gateway", Bool, "true", "serve the JSON gateway at /v3/"),
    refused("memory-mlock", Bool, "false", "memory is not locked; bound it with the unit's limits"),
];
