//! Leases: granted, kept alive, and ending together.

use std::error::Error;
use std::time::{Duration, Instant};

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::lease_client::LeaseClient;
use api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, PutRequest, RangeRequest,
};
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::super::load::{Bench, Outcome, Seen};
use super::puts::{self, VALUE_BYTES};
use crate::load;

const LEASES_KEPT: u64 = 100_000;
const KEEPERS: usize = 64;
const LEASES_ENDING: u64 = 200_000;
const TTL_S: i64 = 600;
/// Leases that are granted at a time while many are made.
const AT_ONCE: usize = 256;
/// Between one put beside ending leases and the next.
const PAUSE: Duration = Duration::from_millis(2);
const LOOK: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) async fn grant(bench: &Bench, clients: usize) -> Result<Outcome, Box<dyn Error>> {
    let connections = bench.shared_connections(clients)?;
    bench
        .closed(clients, move |client, _| {
            let channel = connections[client % connections.len()].clone();
            async move { one(channel, 0, TTL_S).await.map(|_| 1) }
        })
        .await
}

/// Each stream keeps its share of the leases alive, one after the other, as fast as it is answered.
pub(super) async fn keep_alive(bench: &Bench) -> Result<Outcome, Box<dyn Error>> {
    let leases = bench.share(LEASES_KEPT);
    let connections = bench.connections(KEEPERS)?;
    many(&connections, leases, TTL_S, false).await?;
    let (running, end) = (bench.begin()?, Instant::now() + bench.time);
    let mut tasks = JoinSet::new();
    for (number, channel) in connections.into_iter().enumerate() {
        let mut keeper = Keeper::open(channel).await?;
        tasks.spawn(async move {
            let mut seen = Seen::new();
            let ids = (1 + number as u64..=leases).step_by(KEEPERS).cycle();
            for id in ids {
                let sent = Instant::now();
                if sent >= end {
                    break;
                }
                let kept = keeper.keep(i64::try_from(id).unwrap_or(i64::MAX)).await;
                seen.take(kept.ok().map(|()| 1), sent.elapsed());
            }
            seen
        });
    }
    let seen = Seen::gather(tasks).await?;
    Ok(seen.outcome(running.spent()?))
}

struct Keeper {
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

impl Keeper {
    async fn open(channel: Channel) -> Result<Self, Status> {
        let (requests, asked) = mpsc::channel(1);
        // The first answer opens the stream: a server need not before.
        let _ = requests.send(LeaseKeepAliveRequest { id: 1 }).await;
        let mut client = LeaseClient::new(channel);
        let asked = ReceiverStream::new(asked);
        let mut answers = client.lease_keep_alive(asked).await?.into_inner();
        answers.message().await?;
        Ok(Self { requests, answers })
    }

    async fn keep(&mut self, id: i64) -> Result<(), Status> {
        let gone = || Status::unavailable("the stream ended");
        self.requests.send(LeaseKeepAliveRequest { id }).await.map_err(|_| gone())?;
        match self.answers.message().await?.ok_or_else(gone)? {
            answer if answer.ttl > 0 => Ok(()),
            _ => Err(Status::not_found("the lease has ended")),
        }
    }
}

/// All leases begin within the time that granting takes, are kept alive once more at the end of it,
/// and then end together. Counted are the keys that went; the time is from when the last lease was
/// due to end until its key was gone.
pub(super) async fn expire(bench: &Bench) -> Result<Outcome, Box<dyn Error>> {
    // A slow server needs most of it for granting them all.
    const LAST_TTL_S: i64 = 150;
    let leases = bench.share(LEASES_ENDING);
    let connections = bench.connections(KEEPERS)?;
    many(&connections, leases, LAST_TTL_S, true).await?;
    let renewed = renew(connections, leases).await?;
    let due = renewed + Duration::from_secs(LAST_TTL_S.unsigned_abs());
    let (writer, value) = (bench.connection()?, load::value(1, VALUE_BYTES));
    // From shortly before the first ends.
    tokio::time::sleep_until((due - Duration::from_secs(10)).into()).await;
    let beside = tokio::spawn(async move {
        let mut seen = Seen::new();
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            let sent = Instant::now();
            let put = puts::put(writer.clone(), "beside".into(), value.clone()).await;
            seen.take(put.ok().map(|_| 0), sent.elapsed());
            if Instant::now() > due && leased(&writer).await.is_ok_and(|left| left == 0) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        seen
    });
    let running = bench.begin()?;
    let watcher = bench.connection()?;
    while leased(&watcher).await? > 0 {
        tokio::time::sleep(LOOK).await;
    }
    let late = due.elapsed();
    println!("the last of {leases} keys was gone {:.2} s after its time", late.as_secs_f64());
    let spent = running.spent()?;
    let mut beside = beside.await?;
    beside.count(leases);
    Ok(beside.outcome(spent))
}

/// Keeps every lease alive once; returns when the last was.
async fn renew(connections: Vec<Channel>, leases: u64) -> Result<Instant, Box<dyn Error>> {
    let mut tasks = JoinSet::new();
    for (number, channel) in connections.into_iter().enumerate() {
        let mut keeper = Keeper::open(channel).await?;
        tasks.spawn(async move {
            for id in (1 + number as u64..=leases).step_by(KEEPERS) {
                keeper.keep(i64::try_from(id).unwrap_or(i64::MAX)).await?;
            }
            Ok::<_, Status>(())
        });
    }
    while let Some(renewed) = tasks.join_next().await {
        renewed??;
    }
    Ok(Instant::now())
}

/// Leases 1 to `count`, each with a key if `keys`.
async fn many(connections: &[Channel], count: u64, ttl_s: i64, keys: bool) -> Result<(), Status> {
    let granting = (1..=count).map(|number| {
        let channel =
            connections[usize::try_from(number).unwrap_or_default() % connections.len()].clone();
        async move {
            let id = one(channel.clone(), i64::try_from(number).unwrap_or(i64::MAX), ttl_s).await?;
            if keys {
                let key = format!("leased/{number}").into();
                let put = PutRequest { key, lease: id, ..PutRequest::default() };
                KvClient::new(channel).put(put).await?;
            }
            Ok::<_, Status>(())
        }
    });
    let mut granting = stream::iter(granting).buffer_unordered(AT_ONCE);
    while let Some(granted) = granting.next().await {
        granted?;
    }
    Ok(())
}

async fn one(channel: Channel, id: i64, ttl: i64) -> Result<i64, Status> {
    let granted = LeaseClient::new(channel).lease_grant(LeaseGrantRequest { ttl, id }).await?;
    Ok(granted.get_ref().id)
}

/// Keys that leases hold.
async fn leased(channel: &Channel) -> Result<i64, Status> {
    let count = RangeRequest {
        key: "leased/".into(),
        range_end: "leased0".into(),
        count_only: true,
        serializable: true,
        ..RangeRequest::default()
    };
    Ok(KvClient::new(channel.clone()).range(count).await?.get_ref().count)
}
