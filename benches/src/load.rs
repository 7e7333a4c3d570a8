//! Filling a store.

use std::error::Error;

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{PutRequest, RequestOp, TxnRequest};
use bytes::Bytes;
use futures::StreamExt;
use tonic::transport::Channel;

/// Puts in one transaction: below etcd's bound of 128 operations.
const PUTS_PER_TXN_MAX: usize = 100;
/// Below etcd's bound of 1.5 MiB for a request.
const TXN_BYTES_MAX: usize = 1 << 20;
/// Transactions under way at a time.
const TXNS_IN_FLIGHT_MAX: usize = 32;
/// Bytes under way at a time: more would cost a cluster its heartbeats.
const BYTES_IN_FLIGHT_MAX: usize = 4 << 20;
/// A cluster may change its leader under such a load.
const ATTEMPTS_MAX: usize = 5;

/// Writes `keys` keys of `value_bytes` bytes each, `key0000000000` and up.
pub(crate) async fn fill(
    channel: Channel,
    keys: u64,
    value_bytes: usize,
) -> Result<(), Box<dyn Error>> {
    let per_txn = (TXN_BYTES_MAX / value_bytes.max(1)).clamp(1, PUTS_PER_TXN_MAX);
    let in_flight = BYTES_IN_FLIGHT_MAX / (per_txn * value_bytes).max(1);
    let firsts = (0..keys).step_by(per_txn);
    let txns = firsts.map(|first| {
        let end = keys.min(first + per_txn as u64);
        attempts(KvClient::new(channel.clone()), txn(first, end, value_bytes))
    });
    let mut answers =
        futures::stream::iter(txns).buffer_unordered(in_flight.clamp(1, TXNS_IN_FLIGHT_MAX));
    while let Some(answer) = answers.next().await {
        answer?;
    }
    Ok(())
}

/// The same again changes nothing but the revision.
async fn attempts(mut client: KvClient<Channel>, request: TxnRequest) -> Result<(), tonic::Status> {
    let mut answer = client.txn(request.clone()).await;
    for _ in 1..ATTEMPTS_MAX {
        if answer.is_ok() {
            break;
        }
        answer = client.txn(request.clone()).await;
    }
    answer.map(drop)
}

fn txn(first: u64, end: u64, value_bytes: usize) -> TxnRequest {
    let puts = (first..end).map(|number| {
        let put = PutRequest {
            key: format!("key{number:010}").into(),
            value: value(number, value_bytes),
            ..PutRequest::default()
        };
        RequestOp { request: Some(Request::RequestPut(put)) }
    });
    TxnRequest { success: puts.collect(), ..TxnRequest::default() }
}

/// Bytes that no compression shrinks, the same for the same key on every server
/// (xorshift64*, Vigna 2016).
pub(crate) fn value(number: u64, bytes: usize) -> Bytes {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut value = Vec::with_capacity(bytes + 8);
    while value.len() < bytes {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        value.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    value.truncate(bytes);
    value.into()
}
