//! Filling a store.

use std::error::Error;

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{PutRequest, RequestOp, TxnRequest};
use bytes::Bytes;
use futures::StreamExt;
use tonic::transport::Channel;

/// Puts in one transaction: below etcd's bound of 128 operations.
const PUTS_PER_TXN: u64 = 100;
/// Transactions under way at a time.
const TXNS_IN_FLIGHT: usize = 32;

/// Writes `keys` keys of `value_bytes` bytes each, `key0000000000` and up.
pub(crate) async fn fill(
    channel: Channel,
    keys: u64,
    value_bytes: usize,
) -> Result<(), Box<dyn Error>> {
    let firsts = (0..keys).step_by(usize::try_from(PUTS_PER_TXN)?);
    let txns = firsts.map(|first| {
        let mut client = KvClient::new(channel.clone());
        let request = txn(first, keys.min(first + PUTS_PER_TXN), value_bytes);
        async move { client.txn(request).await }
    });
    let mut answers = futures::stream::iter(txns).buffer_unordered(TXNS_IN_FLIGHT);
    while let Some(answer) = answers.next().await {
        answer?;
    }
    Ok(())
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
fn value(number: u64, bytes: usize) -> Bytes {
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
