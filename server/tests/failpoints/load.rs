//! What passes the points. A call that fails is no failure of a test: the server may be gone.

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::*;
use testkit::{Clients, bounded};
use tokio_stream::StreamExt;
use tonic::Status;

use crate::acknowledged::Acknowledged;

/// Events of this size soon fill the buffers between a server and a client that does not read.
const LARGE_BYTES: usize = 1 << 20;
const LARGE_EVENTS: usize = 24;

/// Something that passes a point, if it is repeated.
#[tonic::async_trait]
pub(crate) trait Load: Send {
    async fn pass(&mut self, clients: &Clients, acknowledged: &mut Acknowledged);
}

/// Writes of new keys.
pub(crate) struct Writes;

/// Writes, and a compaction of everything before the last.
pub(crate) struct Compactions;

pub(crate) struct Defragmentations;

/// A learner that nobody will ever start.
pub(crate) struct Changes;

/// A watch that begins in the past.
pub(crate) struct LateWatches;

/// A client that reads a while after much has happened.
pub(crate) struct SlowWatches;

pub(crate) struct ProgressRequests;

#[tonic::async_trait]
impl Load for Writes {
    async fn pass(&mut self, clients: &Clients, acknowledged: &mut Acknowledged) {
        let _ = acknowledged.put(&mut clients.clone()).await;
    }
}

#[tonic::async_trait]
impl Load for Compactions {
    async fn pass(&mut self, clients: &Clients, acknowledged: &mut Acknowledged) {
        // Something must be superfluous, or there is nothing to remove.
        for value in 0..3 {
            let _ = put(clients, "rewritten", vec![value]).await;
        }
        if acknowledged.put(&mut clients.clone()).await.is_ok()
            && let Ok(revision) = revision(clients).await
        {
            let request = CompactionRequest { revision, physical: true };
            let _ = bounded(clients.clone().kv.compact(request)).await;
        }
    }
}

#[tonic::async_trait]
impl Load for Defragmentations {
    async fn pass(&mut self, clients: &Clients, _: &mut Acknowledged) {
        let _ = bounded(clients.clone().maintenance.defragment(DefragmentRequest {})).await;
    }
}

#[tonic::async_trait]
impl Load for Changes {
    async fn pass(&mut self, clients: &Clients, _: &mut Acknowledged) {
        let mut members = clients.clone().cluster;
        let peer_urls = vec!["http://127.0.0.1:1".to_owned()];
        let request = MemberAddRequest { peer_urls, is_learner: true };
        let _ = bounded(members.member_add(request)).await;
    }
}

#[tonic::async_trait]
impl Load for LateWatches {
    async fn pass(&mut self, clients: &Clients, acknowledged: &mut Acknowledged) {
        let _ = acknowledged.put(&mut clients.clone()).await;
        let Ok(start_revision) = revision(clients).await else { return };
        let create = WatchCreateRequest { key: "key/".into(), start_revision, ..all() };
        if let Ok(mut responses) = watch(clients, [RequestUnion::CreateRequest(create)]).await {
            // Created, and the event of the past.
            read(&mut responses, 2).await;
        }
    }
}

#[tonic::async_trait]
impl Load for SlowWatches {
    async fn pass(&mut self, clients: &Clients, _: &mut Acknowledged) {
        let create = RequestUnion::CreateRequest(all());
        let Ok(mut responses) = watch(clients, [create]).await else { return };
        for _ in 0..LARGE_EVENTS {
            let _ = put(clients, "large", vec![b'x'; LARGE_BYTES]).await;
        }
        read(&mut responses, LARGE_EVENTS).await;
    }
}

#[tonic::async_trait]
impl Load for ProgressRequests {
    async fn pass(&mut self, clients: &Clients, _: &mut Acknowledged) {
        let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
        let requests = [RequestUnion::CreateRequest(all()), progress];
        if let Ok(mut responses) = watch(clients, requests).await {
            read(&mut responses, 2).await;
        }
    }
}

pub(crate) async fn put(clients: &Clients, key: &str, value: Vec<u8>) -> Result<(), Status> {
    let request =
        PutRequest { key: key.to_owned().into(), value: value.into(), ..Default::default() };
    bounded(clients.clone().kv.put(request)).await.map(drop)
}

pub(crate) async fn revision(clients: &Clients) -> Result<i64, Status> {
    let request = RangeRequest { key: "none".into(), ..Default::default() };
    let answer = bounded(clients.clone().kv.range(request)).await?.into_inner();
    Ok(answer.header.map_or(0, |header| header.revision))
}

fn all() -> WatchCreateRequest {
    WatchCreateRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() }
}

async fn watch<const N: usize>(
    clients: &Clients,
    requests: [RequestUnion; N],
) -> Result<tonic::Streaming<WatchResponse>, Status> {
    let requests = requests.map(|request| WatchRequest { request_union: Some(request) });
    // The client's side stays open.
    let requests = tokio_stream::iter(requests).chain(tokio_stream::pending());
    Ok(bounded(clients.clone().watch.watch(requests)).await?.into_inner())
}

/// Takes so many responses, or as many as there are before the server is gone.
async fn read(responses: &mut tonic::Streaming<WatchResponse>, count: usize) {
    for _ in 0..count {
        if !matches!(bounded(responses.next()).await, Some(Ok(_))) {
            return;
        }
    }
}
