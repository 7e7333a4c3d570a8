//! Leases that end together, with a client beside them that has nothing to do with it.

use std::error::Error;
use std::time::{Duration, Instant};

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::lease_client::LeaseClient;
use api::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest, RangeRequest};
use futures::{StreamExt, TryStreamExt, stream};
use tonic::Status;
use tonic::transport::Channel;

use super::Expiry;
use crate::figures::{Figure, percentile};
use crate::metrics;
use crate::overload::beside::Beside;
use crate::server::Server;

/// Leases that are granted, or ended, at a time.
const AT_ONCE: usize = 64;
/// After so many all are renewed, so that none ends before the last is there.
const STEP: usize = 1000;
/// How long they live: longer than a step and a renewal of all take.
const TTL_S: i64 = 15;
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(300);
const COMMITTED: &str = "etcd_server_proposals_committed_total";

pub(super) async fn measure(
    expiry: &Expiry,
    server: &Server,
    channel: &Channel,
) -> Result<Vec<Figure>, Box<dyn Error>> {
    let (mut leases, mut renewed_within) = (Vec::new(), Duration::ZERO);
    while leases.len() < expiry.leases {
        let from = leases.len();
        let grants = (from..expiry.leases.min(from + STEP)).map(|at| grant(channel.clone(), at));
        let mut granted = stream::iter(grants).buffer_unordered(AT_ONCE);
        while let Some(lease) = granted.try_next().await? {
            leases.push(lease);
        }
        let begun = Instant::now();
        renew(channel, &leases).await?;
        renewed_within = begun.elapsed();
    }
    let before = metrics::count(server.client_url(), COMMITTED).await?;
    let beside = Beside::start(server.client_url());
    let gone_within = until_gone(channel, expiry.leases).await?;
    let mut seen = beside.finish().await?;
    let committed = metrics::count(server.client_url(), COMMITTED).await? - before;
    if seen.failed > 0 {
        return Err(format!("{} calls of the client beside it have failed", seen.failed).into());
    }
    Ok(vec![
        Figure::Time(renewed_within),
        Figure::Time(gone_within),
        Figure::Count(committed.saturating_sub(seen.puts.len())),
        Figure::Count(seen.puts.len() + seen.gets.len()),
        percentile(&mut seen.puts, 100),
        percentile(&mut seen.gets, 100),
    ])
}

/// A lease, and a key that goes with it.
async fn grant(channel: Channel, number: usize) -> Result<i64, Status> {
    let grant = LeaseGrantRequest { ttl: TTL_S, id: 0 };
    let lease = LeaseClient::new(channel.clone()).lease_grant(grant).await?.into_inner().id;
    let put = PutRequest {
        key: format!("/leased/{number}").into(),
        value: "x".into(),
        lease,
        ..PutRequest::default()
    };
    KvClient::new(channel).put(put).await?;
    Ok(lease)
}

/// All, as nearly at once as can be.
async fn renew(channel: &Channel, leases: &[i64]) -> Result<(), Box<dyn Error>> {
    let requests: Vec<_> = leases.iter().map(|id| LeaseKeepAliveRequest { id: *id }).collect();
    let requests = stream::iter(requests).chain(stream::pending());
    let mut client = LeaseClient::new(channel.clone());
    let mut answers = client.lease_keep_alive(requests).await?.into_inner();
    for _ in leases {
        let answer = answers.message().await?.ok_or("the renewals ended early")?;
        if answer.ttl <= 0 {
            return Err("a lease has ended before all were there: this machine is too slow".into());
        }
    }
    Ok(())
}

/// Waits until no key is left; how long it took from when the first had gone.
async fn until_gone(channel: &Channel, all: usize) -> Result<Duration, Box<dyn Error>> {
    let (begun, all) = (Instant::now(), i64::try_from(all)?);
    let mut first = None;
    loop {
        let asked = Instant::now();
        let left = left(channel).await?;
        if left < all {
            first.get_or_insert(asked);
        }
        if left == 0 {
            return Ok(first.map(|first| first.elapsed()).unwrap_or_default());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{left} leases have not ended").into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn left(channel: &Channel) -> Result<i64, Status> {
    let count = RangeRequest {
        key: "/leased/".into(),
        range_end: "/leased0".into(),
        count_only: true,
        ..RangeRequest::default()
    };
    Ok(KvClient::new(channel.clone()).range(count).await?.get_ref().count)
}
