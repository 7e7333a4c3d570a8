use super::*;
use std::collections::BTreeSet;

/// Every flag of etcd 3.7 (`embed/config.go`, `etcdmain/config.go`) but `version`, which is no
/// setting.
const ETCD_FLAGS: &str = "\
advertise-client-urls auth-token auth-token-ttl auto-compaction-mode auto-compaction-retention \
auto-tls backend-batch-interval backend-batch-limit backend-bbolt-freelist-type bcrypt-cost \
bootstrap-defrag-threshold-megabytes cert-file cipher-suites client-cert-allowed-hostname \
client-cert-auth client-cert-file client-crl-file client-key-file compact-hash-check-time \
compaction-batch-limit compaction-sleep-interval config-file corrupt-check-time cors data-dir \
disable-log-sampling discovery discovery-cacert discovery-cert discovery-dial-timeout \
discovery-endpoints discovery-fallback discovery-insecure-skip-tls-verify \
discovery-insecure-transport discovery-keepalive-time discovery-keepalive-timeout discovery-key \
discovery-password discovery-proxy discovery-request-timeout discovery-srv discovery-srv-name \
discovery-token discovery-user distributed-tracing-address distributed-tracing-instance-id \
distributed-tracing-sampling-rate distributed-tracing-service-name downgrade-check-time \
election-timeout enable-distributed-tracing enable-grpc-gateway enable-log-rotation enable-pprof \
feature-gates force-new-cluster grpc-keepalive-interval grpc-keepalive-min-time \
grpc-keepalive-timeout heartbeat-interval host-whitelist initial-advertise-peer-urls \
initial-cluster initial-cluster-state initial-cluster-token initial-election-tick-advance \
key-file listen-client-http-urls listen-client-urls listen-metrics-urls listen-peer-urls \
log-format log-level log-outputs log-rotation-config-json logger max-concurrent-streams \
max-learners max-request-bytes max-snapshots max-txn-ops max-wals memory-mlock metrics name \
peer-auto-tls peer-cert-allowed-cn peer-cert-allowed-hostname peer-cert-file \
peer-client-cert-auth peer-client-cert-file peer-client-key-file peer-crl-file peer-key-file \
peer-skip-client-san-verification peer-trusted-ca-file pre-vote quota-backend-bytes \
raft-read-timeout raft-write-timeout self-signed-cert-validity snapshot-catchup-entries \
snapshot-count socket-reuse-address socket-reuse-port strict-reconfig-check tls-max-version \
tls-min-version trusted-ca-file unsafe-no-fsync v2-deprecation wal-dir warning-apply-duration \
warning-unary-request-duration watch-progress-notify-interval";

#[test]
fn every_flag_of_etcd_has_a_row() {
    // Shows that no flag of etcd falls to "unknown flag".
    let missing: Vec<_> =
        ETCD_FLAGS.split_whitespace().filter(|name| find(name).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn rows_are_whole() {
    // Shows that names are unique, defaults are valid values, and every disposition says why.
    let mut names = BTreeSet::new();
    for flag in all() {
        assert!(names.insert(flag.name), "{} twice", flag.name);
        assert!(flag.kind.canonical(flag.default).is_ok(), "{}: bad default", flag.name);
        let (Disposition::Supported(why) | Disposition::Accepted(why) | Disposition::Refused(why)) =
            flag.disposition;
        assert!(why.len() > 10 && !why.ends_with('.'), "{}: {why}", flag.name);
    }
}
