//! Reads of one key, and of many at a time.

use std::error::Error;

use api::etcdserverpb::RangeRequest;
use api::etcdserverpb::kv_client::KvClient;
use bytes::Bytes;
use tonic::Status;
use tonic::transport::Channel;

use super::super::load::{Bench, Outcome};
use super::puts::{VALUE_BYTES, key};
use crate::load;

/// Keys there are when single ones are read.
const KEYS: u64 = 10_000;
const MESSAGE_BYTES_MAX: usize = 256 << 20;

pub(super) async fn one_key(
    bench: &Bench,
    clients: usize,
    serializable: bool,
) -> Result<Outcome, Box<dyn Error>> {
    let keys = bench.share(KEYS);
    load::fill(bench.connection()?, keys, VALUE_BYTES).await?;
    let connections = bench.shared_connections(clients)?;
    bench
        .closed(clients, move |client, count| {
            let key = key((client as u64 * 7919 + count) % keys);
            let range = RangeRequest { key, serializable, ..RangeRequest::default() };
            let channel = connections[client % connections.len()].clone();
            async move { read(channel, range).await.map(|_| 1) }
        })
        .await
}

/// Each answer has `keys` keys, and is counted once.
pub(super) async fn many_keys(
    bench: &Bench,
    clients: usize,
    keys: u64,
) -> Result<Outcome, Box<dyn Error>> {
    load::fill(bench.connection()?, keys, VALUE_BYTES).await?;
    let connections = bench.connections(clients)?;
    bench
        .closed(clients, move |client, _| {
            let zero = Bytes::from_static(&[0]);
            let range = RangeRequest { key: zero.clone(), range_end: zero, ..Default::default() };
            let channel = connections[client].clone();
            async move {
                match read(channel, range).await? {
                    all if all == keys => Ok(1),
                    some => Err(Status::data_loss(format!("{some} of {keys} keys"))),
                }
            }
        })
        .await
}

/// How many keys came.
async fn read(channel: Channel, range: RangeRequest) -> Result<u64, Status> {
    let mut client = KvClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    Ok(client.range(range).await?.get_ref().kvs.len() as u64)
}
