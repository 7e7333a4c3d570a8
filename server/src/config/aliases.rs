//! Names that flags had before: `--experimental-x` became `--x` or a feature gate in etcd 3.6.
//! etcd 3.7 refuses them; here they go on working, with a warning.

use super::table;

/// What an old name means today.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Flag(&'static table::Flag),
    /// Its boolean value now belongs to this feature gate.
    Gate(&'static str),
}

const GATES: &[(&str, &str)] = &[
    ("compact-hash-check-enabled", "CompactHashCheck"),
    ("enable-lease-checkpoint", "LeaseCheckpoint"),
    ("enable-lease-checkpoint-persist", "LeaseCheckpointPersist"),
    ("initial-corrupt-check", "InitialCorruptCheck"),
    ("set-member-localaddr", "SetMemberLocalAddr"),
    ("stop-grpc-service-on-defrag", "StopGRPCServiceOnDefrag"),
    ("txn-mode-write-with-shared-buffer", "TxnModeWriteWithSharedBuffer"),
];

/// Names that only lost their prefix.
const FLAGS: &[&str] = &[
    "backend-bbolt-freelist-type",
    "bootstrap-defrag-threshold-megabytes",
    "compact-hash-check-time",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "corrupt-check-time",
    "distributed-tracing-address",
    "distributed-tracing-instance-id",
    "distributed-tracing-sampling-rate",
    "distributed-tracing-service-name",
    "downgrade-check-time",
    "enable-distributed-tracing",
    "enable-v2v3",
    "max-learners",
    "memory-mlock",
    "peer-skip-client-san-verification",
    "snapshot-catchup-entries",
    "warning-apply-duration",
    "warning-unary-request-duration",
    "watch-progress-notify-interval",
];

/// The meaning of an `experimental-` name; `None` if it was never one.
pub(super) fn resolve(name: &str) -> Option<Meaning> {
    let rest = name.strip_prefix("experimental-")?;
    if let Some((_, gate)) = GATES.iter().find(|(old, _)| *old == rest) {
        return Some(Meaning::Gate(gate));
    }
    let present = FLAGS.iter().find(|present| **present == rest)?;
    table::find(present).map(Meaning::Flag)
}

/// Every old name, for the environment's names.
pub(super) fn names() -> impl Iterator<Item = String> {
    let gates = GATES.iter().map(|(old, _)| *old);
    gates.chain(FLAGS.iter().copied()).map(|old| format!("experimental-{old}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_old_name_means_something() {
        // Shows that each name resolves to a row or a gate, and that nothing else does.
        for name in names() {
            assert!(resolve(&name).is_some(), "{name}");
        }
        assert_eq!(resolve("experimental-nothing"), None);
        assert_eq!(resolve("experimental-name"), None);
        assert_eq!(resolve("name"), None);
    }
}
