//! The store's limits.

/// Longest time to live of a lease, in seconds, as etcd has it.
pub const LEASE_TTL_S_MAX: i64 = 9_000_000_000;

/// Limits, fixed at start. All replicas must be started with the same ones that decide results
/// (`max_txn_ops`); the others only trade memory for speed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most operations in one list of a transaction.
    pub max_txn_ops: u32,
    /// Memory for values that were written to the engine and are kept because they may be read.
    pub value_cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { max_txn_ops: 128, value_cache_bytes: 64 << 20 }
    }
}
