//! What a state takes, in memory and on disk.

use std::error::Error;
use std::time::{Duration, Instant};

use api::etcdserverpb::DefragmentRequest;
use api::etcdserverpb::maintenance_client::MaintenanceClient;

use super::super::load::{Bench, Outcome, Seen};
use super::pauses::compact;
use super::puts::VALUE_BYTES;
use crate::load;

const KEYS: u64 = 1_000_000;
/// Afterwards: what the filling left behind is written, or given back, in it.
const CALM: Duration = Duration::from_secs(10);

/// Writes every key twice, compacts, defragments. Counted are keys.
pub(super) async fn footprint(bench: &Bench) -> Result<Outcome, Box<dyn Error>> {
    let keys = bench.share(KEYS);
    let (running, begin) = (bench.begin()?, Instant::now());
    for _ in 0..2 {
        load::fill(bench.connection()?, keys, VALUE_BYTES).await?;
    }
    let mut seen = Seen::new();
    seen.take(Some(keys), begin.elapsed());
    let outcome = seen.outcome(running.spent()?);
    compact(bench.connection()?).await?;
    MaintenanceClient::new(bench.connection()?).defragment(DefragmentRequest {}).await?;
    tokio::time::sleep(CALM).await;
    Ok(outcome)
}
