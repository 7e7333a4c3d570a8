//! Transactions.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};
use bytes::Bytes;
use tonic::Status;
use tonic::transport::Channel;

use super::super::load::{Bench, Outcome};
use super::puts::{VALUE_BYTES, key};
use crate::load;

/// Counters that clients compete for.
const COUNTERS: u64 = 100;
/// Tries of one increment, before it counts as failed.
const ATTEMPTS_MAX: usize = 1000;
/// Keys there are for transactions that read.
const KEYS: u64 = 10_000;

pub(super) async fn puts(bench: &Bench, clients: usize) -> Result<Outcome, Box<dyn Error>> {
    let connections = bench.shared_connections(clients)?;
    let (next, value) = (Arc::new(AtomicU64::new(0)), load::value(1, VALUE_BYTES));
    bench
        .closed(clients, move |client, _| {
            let key = key(next.fetch_add(1, Ordering::Relaxed));
            let txn =
                TxnRequest { success: vec![put(key, value.clone())], ..TxnRequest::default() };
            send(connections[client % connections.len()].clone(), txn)
        })
        .await
}

pub(super) async fn mixed(bench: &Bench, clients: usize) -> Result<Outcome, Box<dyn Error>> {
    let keys = bench.share(KEYS);
    load::fill(bench.connection()?, keys, VALUE_BYTES).await?;
    let connections = bench.shared_connections(clients)?;
    let value = load::value(1, VALUE_BYTES);
    bench
        .closed(clients, move |client, count| {
            let key = key((client as u64 * 7919 + count) % keys);
            let there = compare(key.clone(), 0, CompareResult::Greater);
            let op = if count % 2 == 0 { range(key) } else { put(key, value.clone()) };
            let txn =
                TxnRequest { compare: vec![there], success: vec![op], ..TxnRequest::default() };
            send(connections[client % connections.len()].clone(), txn)
        })
        .await
}

/// Counted are increments; a latency has all its tries in it.
pub(super) async fn counters(bench: &Bench, clients: usize) -> Result<Outcome, Box<dyn Error>> {
    let connections = bench.shared_connections(clients)?;
    bench
        .closed(clients, move |client, count| {
            let key = key((client as u64 * 7919 + count) % COUNTERS);
            increment(connections[client % connections.len()].clone(), key)
        })
        .await
}

/// Reads, adds one, writes if nobody wrote meanwhile, and else tries again.
async fn increment(channel: Channel, key: Bytes) -> Result<u64, Status> {
    let mut client = KvClient::new(channel);
    for _ in 0..ATTEMPTS_MAX {
        let found = client.range(RangeRequest { key: key.clone(), ..Default::default() }).await?;
        let found = found.get_ref().kvs.first();
        let count: u64 = found
            .and_then(|kv| std::str::from_utf8(&kv.value).ok()?.parse().ok())
            .unwrap_or_default();
        let revision = found.map_or(0, |kv| kv.mod_revision);
        let txn = TxnRequest {
            compare: vec![compare(key.clone(), revision, CompareResult::Equal)],
            success: vec![put(key.clone(), (count + 1).to_string().into())],
            ..TxnRequest::default()
        };
        if client.txn(txn).await?.get_ref().succeeded {
            return Ok(1);
        }
    }
    Err(Status::aborted("the counter was contended for"))
}

async fn send(channel: Channel, txn: TxnRequest) -> Result<u64, Status> {
    KvClient::new(channel).txn(txn).await?;
    Ok(1)
}

/// Of a key's mod revision.
pub(super) fn compare(key: Bytes, revision: i64, result: CompareResult) -> Compare {
    Compare {
        key,
        target: CompareTarget::Mod as i32,
        result: result as i32,
        target_union: Some(TargetUnion::ModRevision(revision)),
        ..Compare::default()
    }
}

pub(super) fn put(key: Bytes, value: Bytes) -> RequestOp {
    let put = PutRequest { key, value, ..PutRequest::default() };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

pub(super) fn range(key: Bytes) -> RequestOp {
    let range = RangeRequest { key, ..RangeRequest::default() };
    RequestOp { request: Some(Request::RequestRange(range)) }
}
