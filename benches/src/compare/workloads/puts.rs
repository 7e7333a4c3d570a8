//! Puts.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::etcdserverpb::PutRequest;
use api::etcdserverpb::kv_client::KvClient;
use bytes::Bytes;
use tonic::Status;
use tonic::transport::Channel;

use super::super::load::{Bench, Outcome};
use crate::load;

pub(super) const VALUE_BYTES: usize = 256;

#[derive(Clone, Copy)]
pub(super) enum Keys {
    InOrder,
    AtRandom,
    /// Each client writes one.
    TheSame,
}

pub(super) async fn run(
    bench: &Bench,
    clients: usize,
    keys: Keys,
) -> Result<Outcome, Box<dyn Error>> {
    let connections = bench.shared_connections(clients)?;
    let (next, value) = (Arc::new(AtomicU64::new(0)), load::value(1, VALUE_BYTES));
    bench
        .closed(clients, move |client, _| {
            let number = match keys {
                Keys::InOrder => next.fetch_add(1, Ordering::Relaxed),
                Keys::AtRandom => rand::random::<u32>().into(),
                Keys::TheSame => client as u64,
            };
            put(connections[client % connections.len()].clone(), key(number), value.clone())
        })
        .await
}

pub(super) fn key(number: u64) -> Bytes {
    format!("key{number:010}").into()
}

pub(super) async fn put(channel: Channel, key: Bytes, value: Bytes) -> Result<u64, Status> {
    let put = PutRequest { key, value, ..PutRequest::default() };
    KvClient::new(channel).put(put).await?;
    Ok(1)
}
