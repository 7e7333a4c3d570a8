//! The shape of what kube-apiserver asks.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::etcdserverpb::compare::CompareResult;
use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::{RangeRequest, TxnRequest};
use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

use super::super::load::{Bench, Outcome};
use super::paging::PAGE_KEYS;
use super::{txns, watches};
use crate::load;

const CLIENTS: usize = 64;
const WATCHES: usize = 50;
/// A small Pod.
const OBJECT_BYTES: usize = 2 << 10;
const OBJECTS: u64 = 20_000;
const PREFIX: &str = "/registry/pods/";
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// One request in so many is a list.
const LIST_EVERY: u64 = 50;
/// One request in so many creates; the others update.
const CREATE_EVERY: u64 = 10;

/// Updates and creations on a mod revision and lists of 500, beside watches of the prefix. Counted
/// are requests.
pub(super) async fn run(bench: &Bench) -> Result<Outcome, Box<dyn Error>> {
    let objects = Arc::new(AtomicU64::new(0));
    let connections = bench.shared_connections(CLIENTS)?;
    for _ in 0..bench.share(OBJECTS) {
        let number = objects.fetch_add(1, Ordering::Relaxed);
        create(connections[0].clone(), number).await?;
    }
    let _watching = watch(bench).await?;
    bench
        .closed(CLIENTS, move |client, count| {
            let channel = connections[client % connections.len()].clone();
            let objects = objects.clone();
            async move {
                let there = objects.load(Ordering::Relaxed);
                if count % LIST_EVERY == 0 {
                    list(channel, (client as u64 * 7919 + count) % there).await
                } else if count % CREATE_EVERY == 0 {
                    create(channel, objects.fetch_add(1, Ordering::Relaxed)).await
                } else {
                    update(channel, rand::random::<u64>() % there).await
                }
            }
        })
        .await
}

/// Watches that take everything; they end when this is dropped.
async fn watch(bench: &Bench) -> Result<JoinSet<()>, Box<dyn Error>> {
    let connections = bench.shared_connections(WATCHES)?;
    let mut tasks = JoinSet::new();
    for number in 0..WATCHES {
        let channel = connections[number % connections.len()].clone();
        let mut watching = watches::open(channel, vec![watches::create(PREFIX, 0)]).await?;
        tasks.spawn(async move { while watching.next().await.is_ok() {} });
    }
    Ok(tasks)
}

fn key(number: u64) -> Bytes {
    format!("{PREFIX}{:03}/pod-{number:08}", number % 100).into()
}

async fn create(channel: Channel, number: u64) -> Result<u64, Status> {
    let object = load::value(number, OBJECT_BYTES);
    let txn = TxnRequest {
        compare: vec![txns::compare(key(number), 0, CompareResult::Equal)],
        success: vec![txns::put(key(number), object)],
        ..TxnRequest::default()
    };
    KvClient::new(channel).txn(txn).await?;
    Ok(1)
}

/// Reads, and writes if nobody wrote meanwhile; else what is there comes with the answer, as the
/// API server has it. Once.
async fn update(channel: Channel, number: u64) -> Result<u64, Status> {
    let mut client = KvClient::new(channel);
    let found = client.range(RangeRequest { key: key(number), ..Default::default() }).await?;
    let Some(kv) = found.into_inner().kvs.pop() else { return Ok(1) };
    let txn = TxnRequest {
        compare: vec![txns::compare(kv.key.clone(), kv.mod_revision, CompareResult::Equal)],
        success: vec![txns::put(kv.key.clone(), load::value(number + 1, OBJECT_BYTES))],
        failure: vec![txns::range(kv.key)],
    };
    client.txn(txn).await?;
    Ok(2)
}

/// A page from somewhere.
async fn list(channel: Channel, number: u64) -> Result<u64, Status> {
    let range = RangeRequest {
        key: key(number),
        range_end: "/registry/pods0".into(),
        limit: PAGE_KEYS,
        ..RangeRequest::default()
    };
    let mut client = KvClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    client.range(range).await?;
    Ok(1)
}
