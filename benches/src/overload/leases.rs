//! Leases granted as fast as it goes, each with a key, that end in one another's company.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::lease_client::LeaseClient;
use api::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest, RangeRequest};
use futures::{StreamExt, stream};
use tonic::Status;
use tonic::transport::Channel;

use super::client::{Outcome, Target};

const CONNECTIONS: usize = 16;
const LEASES: usize = 50_000;
/// Leases that are being granted at a time.
const AT_ONCE: usize = 512;
/// A few seconds.
const TTL_S: i64 = 5;
/// One lease in so many is kept alive while the others are granted.
const KEPT_EVERY: usize = 100;
const KEEP_PAUSE: Duration = Duration::from_secs(1);
/// For all to end.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn apply(target: &Target) -> Result<Outcome, Box<dyn Error>> {
    let connections = target.connections(CONNECTIONS)?;
    let leases = target.share(LEASES);
    let keep = Arc::new(AtomicBool::new(true));
    let keeper = tokio::spawn(keep_alive(connections[0].clone(), leases, keep.clone()));
    let begin = Instant::now();
    let granting = (1..=leases).map(|id| grant(connections[id % CONNECTIONS].clone(), id));
    let answers: Vec<_> = stream::iter(granting).buffer_unordered(AT_ONCE).collect().await;
    let granted_in = begin.elapsed();
    let mut outcome = Outcome::default();
    let granted = answers.into_iter().filter_map(|answer| outcome.take(answer)).count();
    keep.store(false, Ordering::Release);
    keeper.await?;
    let begin = Instant::now();
    let mut left = leased(&connections[0]).await?;
    while left > 0 && begin.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(100)).await;
        left = leased(&connections[0]).await?;
    }
    outcome.reached = format!(
        "{granted} leases in {:.1} s, {left} keys left {:.1} s later",
        granted_in.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    );
    Ok(outcome)
}

/// A lease, and a key that goes with it.
async fn grant(channel: Channel, number: usize) -> Result<(), Status> {
    let id = i64::try_from(number).unwrap_or(i64::MAX);
    let grant = LeaseGrantRequest { ttl: TTL_S, id };
    LeaseClient::new(channel.clone()).lease_grant(grant).await?;
    let put = PutRequest {
        key: format!("leased/{number}").into(),
        value: "x".into(),
        lease: id,
        ..PutRequest::default()
    };
    KvClient::new(channel).put(put).await?;
    Ok(())
}

/// Keeps some of the leases as long as it is to, those among them that are not granted yet too.
async fn keep_alive(channel: Channel, leases: usize, keep: Arc<AtomicBool>) {
    let ids: Vec<usize> = (1..=leases).step_by(KEPT_EVERY).collect();
    let rounds = stream::unfold((ids, keep), async |(ids, keep)| {
        tokio::time::sleep(KEEP_PAUSE).await;
        keep.load(Ordering::Acquire).then(|| (ids.clone(), (ids, keep)))
    });
    let requests = rounds
        .flat_map(stream::iter)
        .map(|number| LeaseKeepAliveRequest { id: i64::try_from(number).unwrap_or(i64::MAX) });
    let mut client = LeaseClient::new(channel);
    let Ok(answers) = client.lease_keep_alive(requests).await else { return };
    let mut answers = answers.into_inner();
    while let Ok(Some(_)) = answers.message().await {}
}

/// Keys that leases hold.
async fn leased(channel: &Channel) -> Result<i64, Status> {
    let count = RangeRequest {
        key: "leased/".into(),
        range_end: "leased0".into(),
        count_only: true,
        ..RangeRequest::default()
    };
    Ok(KvClient::new(channel.clone()).range(count).await?.get_ref().count)
}
