//! What the tests do with a server.

use std::collections::BTreeSet;
use std::time::Duration;

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, WatchCreateRequest,
    WatchProgressRequest, WatchRequest, WatchResponse,
};
use api::mvccpb::Event;
use testkit::{Clients, bounded};
use tokio::sync::mpsc::Sender;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// How long silence has to last to be taken for an end.
const SILENCE: Duration = Duration::from_millis(700);

/// Puts a key; the revision of the put.
pub(crate) async fn put(clients: &Clients, key: &str, value: &str) -> i64 {
    let request = PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..Default::default()
    };
    let answer = bounded(clients.clone().kv.put(request)).await.expect("a put").into_inner();
    answer.header.expect("a header").revision
}

/// Deletes a key; the revision of the delete.
pub(crate) async fn delete(clients: &Clients, key: &str) -> i64 {
    let request = DeleteRangeRequest { key: key.to_owned().into(), ..Default::default() };
    let answer = bounded(clients.clone().kv.delete_range(request)).await.expect("a delete");
    answer.into_inner().header.expect("a header").revision
}

pub(crate) async fn compact(clients: &Clients, revision: i64, physical: bool) {
    let request = CompactionRequest { revision, physical };
    bounded(clients.clone().kv.compact(request)).await.expect("a compaction");
}

/// The store's revision, by a linearizable read.
pub(crate) async fn revision(clients: &Clients) -> i64 {
    let request = RangeRequest { key: "none".into(), ..Default::default() };
    let answer = bounded(clients.clone().kv.range(request)).await.expect("a read").into_inner();
    answer.header.expect("a header").revision
}

/// All keys that a member has.
pub(crate) async fn keys(clients: &Clients) -> BTreeSet<String> {
    let all = RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        serializable: true,
        keys_only: true,
        ..Default::default()
    };
    let answer = bounded(clients.clone().kv.range(all)).await.expect("a read").into_inner();
    answer.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
}

/// A stream of watches.
pub(crate) struct Stream {
    requests: Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Stream {
    pub(crate) async fn open(clients: &Clients) -> Stream {
        let (requests, outgoing) = tokio::sync::mpsc::channel(1024);
        let answer = bounded(clients.clone().watch.watch(ReceiverStream::new(outgoing))).await;
        Stream { requests, responses: answer.expect("a stream").into_inner() }
    }

    /// Watches all keys with the prefix `k` from a revision on.
    pub(crate) async fn watch(&self, start_revision: i64) {
        self.create(WatchCreateRequest {
            key: "k".into(),
            range_end: "l".into(),
            start_revision,
            ..Default::default()
        })
        .await;
    }

    pub(crate) async fn create(&self, request: WatchCreateRequest) {
        self.ask(RequestUnion::CreateRequest(request)).await;
    }

    pub(crate) async fn ask_for_progress(&self) {
        self.ask(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
    }

    async fn ask(&self, request: RequestUnion) {
        let request = WatchRequest { request_union: Some(request) };
        self.requests.send(request).await.expect("the stream is open");
    }

    pub(crate) async fn next(&mut self) -> WatchResponse {
        let answer = bounded(self.responses.message()).await.expect("the stream is open");
        answer.expect("the stream goes on")
    }

    /// Responses until there is silence.
    pub(crate) async fn rest(&mut self) -> Vec<WatchResponse> {
        let mut rest = Vec::new();
        while let Ok(Ok(Some(response))) =
            tokio::time::timeout(SILENCE, self.responses.message()).await
        {
            rest.push(response);
        }
        rest
    }
}

/// The revisions of events, in order.
pub(crate) fn revisions(responses: &[WatchResponse]) -> Vec<i64> {
    responses.iter().flat_map(|response| &response.events).map(revision_of).collect()
}

pub(crate) fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}
