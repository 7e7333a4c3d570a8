//! Clients that write and read values near the largest that are taken.

use std::error::Error;
use std::time::Instant;

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::{PutRequest, RangeRequest};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::client::{Outcome, Target};
use crate::load;

const CLIENTS: usize = 50;
const VALUE_BYTES: usize = 1 << 20;

pub(super) async fn apply(target: &Target) -> Result<Outcome, Box<dyn Error>> {
    let end = Instant::now() + target.time;
    let mut clients = JoinSet::new();
    for (number, channel) in target.connections(CLIENTS)?.into_iter().enumerate() {
        clients.spawn(client(channel, number as u64, end));
    }
    let (mut outcome, mut pairs) = (Outcome::default(), 0);
    while let Some(client) = clients.join_next().await {
        let (its, count) = client?;
        outcome.add(its);
        pairs += count;
    }
    outcome.reached = format!("{pairs} MiB written and read by {CLIENTS} clients");
    Ok(outcome)
}

/// Writes and reads until `end`; how often both were answered.
async fn client(channel: Channel, number: u64, end: Instant) -> (Outcome, usize) {
    let mut kv = KvClient::new(channel);
    let (mut outcome, mut pairs) = (Outcome::default(), 0);
    let key = format!("values/{number}");
    let value = load::value(number, VALUE_BYTES);
    while Instant::now() < end {
        let put =
            PutRequest { key: key.clone().into(), value: value.clone(), ..PutRequest::default() };
        let put = outcome.take(kv.put(put).await);
        let get = RangeRequest { key: key.clone().into(), ..RangeRequest::default() };
        let get = outcome.take(kv.range(get).await);
        pairs += usize::from(put.is_some() && get.is_some());
    }
    (outcome, pairs)
}
