//! What is asked of a server: a file for each kind of request.

mod kubernetes;
mod leases;
mod paging;
mod pauses;
mod puts;
mod ranges;
mod state;
mod txns;
mod watches;

use std::error::Error;

use clap::ValueEnum;

use super::load::{Bench, Outcome};

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(super) enum Workload {
    /// One client puts 256 bytes under keys in order
    Put1,
    /// 64 clients do
    Put64,
    /// 1,000 clients do
    Put1000,
    /// 1,000 clients, under keys at random
    PutRandom1000,
    /// 1,000 clients, each its own key again and again
    PutOverwrite1000,
    /// One client reads a key, linearizable
    Range1,
    /// 1,000 clients do
    Range1000,
    /// 1,000 clients do, serializable
    RangeSerializable1000,
    /// 8 clients read 1,000 keys at a time
    RangeOf1000Keys,
    /// 2 clients read 100,000 keys at a time
    RangeOf100000Keys,
    /// 256 clients put by transactions of one operation
    TxnPut,
    /// 256 clients, transactions that read and those that compare and write, one to one
    TxnMixed,
    /// 256 clients increment 100 counters by compare-and-swap until it succeeds
    Stm,
    /// 10,000 watchers of one key, which is written again and again; counted are events
    Watch,
    /// One watcher of 1,000 events a second; the latency from sending the put to its event
    WatchLatency,
    /// 64 clients watch from the first of 1,000 revisions on until they have all
    WatchGet,
    /// 256 clients grant leases
    LeaseGrant,
    /// 100,000 leases are kept alive by 64 streams
    LeaseKeepalive,
    /// 200,000 leases end together; the latencies are of a client that puts beside them
    LeaseExpiry,
    /// 1,000,000 keys, read in pages of 500
    Paging,
    /// What kube-apiserver asks: creations and updates on a mod revision, lists of 500, 50 watches
    Kubernetes,
    /// 64 clients put, and everything is compacted meanwhile; see the longest latency
    CompactionPause,
    /// The same with a defragmentation
    DefragPause,
    /// The same with a snapshot being taken
    SnapshotPause,
    /// 1,000,000 keys of 256 bytes are written, each twice, and compacted: see memory and disk
    Footprint,
}

impl Workload {
    pub(super) fn told(self) -> String {
        self.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default()
    }

    pub(super) async fn run(self, bench: &Bench) -> Result<Outcome, Box<dyn Error>> {
        use puts::Keys;
        match self {
            Self::Put1 => puts::run(bench, 1, Keys::InOrder).await,
            Self::Put64 => puts::run(bench, 64, Keys::InOrder).await,
            Self::Put1000 => puts::run(bench, 1000, Keys::InOrder).await,
            Self::PutRandom1000 => puts::run(bench, 1000, Keys::AtRandom).await,
            Self::PutOverwrite1000 => puts::run(bench, 1000, Keys::TheSame).await,
            Self::Range1 => ranges::one_key(bench, 1, false).await,
            Self::Range1000 => ranges::one_key(bench, 1000, false).await,
            Self::RangeSerializable1000 => ranges::one_key(bench, 1000, true).await,
            Self::RangeOf1000Keys => ranges::many_keys(bench, 8, 1000).await,
            Self::RangeOf100000Keys => ranges::many_keys(bench, 2, bench.share(100_000)).await,
            Self::TxnPut => txns::puts(bench, 256).await,
            Self::TxnMixed => txns::mixed(bench, 256).await,
            Self::Stm => txns::counters(bench, 256).await,
            Self::Watch => watches::one_key(bench).await,
            Self::WatchLatency => watches::latency(bench).await,
            Self::WatchGet => watches::from_the_first(bench, 64).await,
            Self::LeaseGrant => leases::grant(bench, 256).await,
            Self::LeaseKeepalive => leases::keep_alive(bench).await,
            Self::LeaseExpiry => leases::expire(bench).await,
            Self::Paging => paging::run(bench).await,
            Self::Kubernetes => kubernetes::run(bench).await,
            Self::CompactionPause => pauses::compaction(bench).await,
            Self::DefragPause => pauses::defragmentation(bench).await,
            Self::SnapshotPause => pauses::snapshot(bench).await,
            Self::Footprint => state::footprint(bench).await,
        }
    }
}
