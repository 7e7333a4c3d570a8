//! The side that is copied from: it is only read.

use std::future::Future;
use std::time::Duration;

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::watch_client::WatchClient;
use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    RangeRequest, RangeResponse, WatchCreateRequest, WatchProgressRequest, WatchRequest,
    WatchResponse,
};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use super::trouble::{Result, Trouble};
use crate::ctl::args::Global;
use crate::ctl::connect::{Connection, Session};

/// Longer than any answer takes while there is a leader.
const CALL_MAX: Duration = Duration::from_secs(15);

const SIDE: &str = "the source";

pub(super) struct Source {
    kv: KvClient<Connection>,
    watch: WatchClient<Connection>,
}

/// Cluster id and revision.
pub(super) struct Now {
    pub(super) cluster_id: u64,
    pub(super) revision: i64,
}

/// A watch and the way to ask it how far it is.
pub(super) struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Source {
    pub(super) async fn connect(global: Global) -> Result<Self> {
        let of = |failure| Trouble::of_connection(SIDE, &failure);
        let session = Session::new(global).map_err(of)?;
        let kv = session.kv().await.map_err(of)?;
        Ok(Self { kv, watch: session.watch().await.map_err(of)? })
    }

    pub(super) async fn range(&mut self, request: RangeRequest) -> Result<RangeResponse> {
        call(SIDE, self.kv.range(request)).await
    }

    /// Where the source is; asks its leader. `key` is one that may be read.
    pub(super) async fn now(&mut self, key: Bytes) -> Result<Now> {
        let request = RangeRequest { key, limit: 1, keys_only: true, ..RangeRequest::default() };
        let header = self.range(request).await?.header.unwrap_or_default();
        Ok(Now { cluster_id: header.cluster_id, revision: header.revision })
    }

    /// Watches a range from `start_revision` on.
    pub(super) async fn watch(
        &mut self,
        (key, range_end): (Bytes, Bytes),
        start_revision: i64,
    ) -> Result<Watching> {
        let (requests, sent) = mpsc::channel(2);
        let create = WatchCreateRequest {
            key,
            range_end,
            start_revision,
            progress_notify: true,
            // Else all that a slow watcher missed comes as one message, of any size.
            fragment: true,
            ..WatchCreateRequest::default()
        };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        requests.try_send(create).expect("the channel is empty");
        let mut request = Request::new(ReceiverStream::new(sent));
        // A member that is cut off from the others then ends the watch.
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let answers = call(SIDE, self.watch.watch(request)).await?;
        Ok(Watching { requests, answers })
    }
}

impl Watching {
    /// The next answer. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<WatchResponse> {
        match self.answers.message().await {
            Ok(Some(answer)) if answer.canceled => Err(canceled(&answer)),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Trouble::Passing(format!("{SIDE}: the watch has ended"))),
            Err(status) => Err(Trouble::of(SIDE, &status)),
        }
    }

    /// Asks for an answer that comes after all events so far.
    pub(super) fn ask_progress(&self) {
        let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
        // If an earlier question has not left yet, it serves as well.
        let _ = self.requests.try_send(WatchRequest { request_union: Some(request) });
    }
}

fn canceled(answer: &WatchResponse) -> Trouble {
    if answer.compact_revision > 0 {
        return Trouble::Compacted;
    }
    let message = format!("{SIDE}: the watch was canceled: {}", answer.cancel_reason);
    if answer.cancel_reason.contains("permission denied") {
        return Trouble::lasting(message);
    }
    Trouble::Passing(message)
}

/// Waits for an answer of `side`, within bounds.
pub(super) async fn call<T>(
    side: &str,
    answer: impl Future<Output = std::result::Result<Response<T>, Status>>,
) -> Result<T> {
    match tokio::time::timeout(CALL_MAX, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Trouble::of(side, &status)),
        Err(_) => Err(Trouble::Passing(format!("{side}: no answer in {} s", CALL_MAX.as_secs()))),
    }
}
