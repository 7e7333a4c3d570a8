//! Reading everything in pages, as list requests with a limit do.

use std::error::Error;

use api::etcdserverpb::RangeRequest;
use api::etcdserverpb::kv_client::KvClient;
use bytes::{BufMut, Bytes, BytesMut};
use tonic::Status;
use tonic::transport::Channel;

use super::super::load::{Bench, Outcome, Seen};
use super::puts::VALUE_BYTES;
use crate::load;

const KEYS: u64 = 1_000_000;
pub(super) const PAGE_KEYS: i64 = 500;
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Counted are pages. One client, from the first key to the last.
pub(super) async fn run(bench: &Bench) -> Result<Outcome, Box<dyn Error>> {
    let keys = bench.share(KEYS);
    load::fill(bench.connection()?, keys, VALUE_BYTES).await?;
    let channel = bench.connection()?;
    let running = bench.begin()?;
    let (mut seen, mut from, mut revision) = (Seen::new(), Bytes::from_static(b"key"), 0);
    let mut read = 0;
    loop {
        let sent = std::time::Instant::now();
        let page = page(channel.clone(), from, revision).await?;
        seen.take(Some(1), sent.elapsed());
        read += page.keys;
        revision = page.revision;
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    if read != keys {
        return Err(format!("{read} of {keys} keys in the pages").into());
    }
    Ok(seen.outcome(running.spent()?))
}

pub(super) struct Page {
    keys: u64,
    revision: i64,
    /// Where the next one begins.
    next: Option<Bytes>,
}

/// One page of all keys from `from` on, at a revision (0: now).
async fn page(channel: Channel, from: Bytes, revision: i64) -> Result<Page, Status> {
    let range = RangeRequest {
        key: from,
        range_end: "kez".into(),
        limit: PAGE_KEYS,
        revision,
        ..RangeRequest::default()
    };
    let mut client = KvClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let answer = client.range(range).await?.into_inner();
    let next = answer.kvs.last().filter(|_| answer.more).map(|last| {
        let mut next = BytesMut::from(&last.key[..]);
        next.put_u8(0);
        next.freeze()
    });
    let now = answer.header.map_or(0, |header| header.revision);
    let revision = if revision == 0 { now } else { revision };
    Ok(Page { keys: answer.kvs.len() as u64, revision, next })
}
