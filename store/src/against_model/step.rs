//! What happens to a store.

use api::berthpb::command::Op;
use api::etcdserverpb::{RangeRequest, TxnRequest};

/// Small requests over few keys, leases and revisions, so that they meet.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Apply(Op),
    Range(RangeRequest),
    ReadTxn(TxnRequest),
    History {
        from: i64,
        to: i64,
        bytes_max: usize,
    },
    Flush,
    /// Physical compaction, so many keys.
    Compact(usize),
    /// The process dies; what was not flushed is replayed from the log.
    Crash,
    /// The engine is replaced by a snapshot, and the log is replayed from there.
    SnapshotRestore,
    /// A snapshot is taken now and compared when the next one is, however much happens between.
    HoldSnapshot,
}
