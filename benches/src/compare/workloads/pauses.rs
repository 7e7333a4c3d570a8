//! Puts, and something large beside them: the longest latency is what it costs the others.

use std::error::Error;

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::maintenance_client::MaintenanceClient;
use api::etcdserverpb::{CompactionRequest, DefragmentRequest, RangeRequest, SnapshotRequest};
use tonic::Status;
use tonic::transport::Channel;

use super::super::load::{Bench, Outcome};
use super::puts::{self, Keys, VALUE_BYTES};
use crate::load;

const CLIENTS: usize = 64;
const KEYS: u64 = 200_000;
/// Each key is written so often, so that there is something to remove.
const VERSIONS: usize = 3;

pub(super) async fn compaction(bench: &Bench) -> Result<Outcome, Box<dyn Error>> {
    fill(bench).await?;
    beside(bench, compact).await
}

/// What a compaction has left is given back.
pub(super) async fn defragmentation(bench: &Bench) -> Result<Outcome, Box<dyn Error>> {
    fill(bench).await?;
    compact(bench.connection()?).await?;
    let defragment = async |channel| {
        MaintenanceClient::new(channel).defragment(DefragmentRequest {}).await.map(drop)
    };
    beside(bench, defragment).await
}

pub(super) async fn snapshot(bench: &Bench) -> Result<Outcome, Box<dyn Error>> {
    fill(bench).await?;
    let snapshot = async |channel| {
        let mut blobs =
            MaintenanceClient::new(channel).snapshot(SnapshotRequest {}).await?.into_inner();
        while blobs.message().await?.is_some() {}
        Ok(())
    };
    beside(bench, snapshot).await
}

async fn fill(bench: &Bench) -> Result<(), Box<dyn Error>> {
    for _ in 0..VERSIONS {
        load::fill(bench.connection()?, bench.share(KEYS), VALUE_BYTES).await?;
    }
    Ok(())
}

/// Puts for the bench's time, and `disturb` in the middle of it.
async fn beside(
    bench: &Bench,
    disturb: impl AsyncFnOnce(Channel) -> Result<(), Status>,
) -> Result<Outcome, Box<dyn Error>> {
    let channel = bench.connection()?;
    let disturbed = async {
        tokio::time::sleep(bench.time / 3).await;
        disturb(channel).await
    };
    let puts = puts::run(bench, CLIENTS, Keys::AtRandom);
    let (outcome, disturbed) = tokio::join!(puts, disturbed);
    disturbed?;
    outcome
}

/// All but what is newest, from the disk too.
pub(super) async fn compact(channel: Channel) -> Result<(), Status> {
    let mut client = KvClient::new(channel);
    let range = RangeRequest { key: "key".into(), count_only: true, ..RangeRequest::default() };
    let header = client.range(range).await?.into_inner().header;
    let revision = header.map_or(0, |header| header.revision);
    client.compact(CompactionRequest { revision, physical: true }).await.map(drop)
}
