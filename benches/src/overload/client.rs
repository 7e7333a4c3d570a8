//! What all loads need: connections, watch streams, and a record of refusals.

use std::collections::BTreeMap;
use std::time::Duration;

use api::etcdserverpb::watch_client::WatchClient;
use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// Large enough for any event or value of these loads.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What HTTP/2 begins with.
const WINDOW_BYTES_MIN: u32 = (64 << 10) - 1;

/// The server under load, and how much of it.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) url: String,
    pub(super) time: Duration,
    pub(super) divide_by: usize,
}

impl Target {
    /// Connections of their own, opened when they are first used.
    pub(super) fn connections(
        &self,
        count: usize,
    ) -> Result<Vec<Channel>, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(self.url.clone())?;
        Ok((0..count).map(|_| endpoint.connect_lazy()).collect())
    }

    /// Connections that take next to nothing that nobody reads, so that it waits in the server.
    pub(super) fn narrow_connections(
        &self,
        count: usize,
    ) -> Result<Vec<Channel>, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(self.url.clone())?
            .initial_stream_window_size(WINDOW_BYTES_MIN)
            .initial_connection_window_size(WINDOW_BYTES_MIN);
        Ok((0..count).map(|_| endpoint.connect_lazy()).collect())
    }

    /// The part of a load that was asked for.
    pub(super) fn share(&self, whole: usize) -> usize {
        (whole / self.divide_by).max(1)
    }
}

/// What a load came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) reached: String,
    /// How often each code and text was the answer.
    refusals: BTreeMap<String, usize>,
}

impl Outcome {
    pub(super) fn refuse(&mut self, status: &Status) {
        let text = format!("{:?}: {}", status.code(), status.message());
        *self.refusals.entry(text).or_default() += 1;
    }

    /// The answer, if it is one; else it is counted.
    pub(super) fn take<T>(&mut self, answer: Result<T, Status>) -> Option<T> {
        answer.inspect_err(|status| self.refuse(status)).ok()
    }

    pub(super) fn add(&mut self, other: Self) {
        for (text, count) in other.refusals {
            *self.refusals.entry(text).or_default() += count;
        }
    }

    pub(super) fn refused(&self) -> usize {
        self.refusals.values().sum()
    }

    pub(super) fn details(&self) -> String {
        let refusals = self.refusals.iter().map(|(text, count)| format!("; {count} times {text}"));
        [self.reached.clone()].into_iter().chain(refusals).collect()
    }
}

/// Everything that begins with `prefix`, or one key.
pub(super) fn create(prefix: &str, single: bool) -> WatchRequest {
    let mut end = prefix.as_bytes().to_vec();
    // No prefix here ends with the highest byte.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    let range_end = if single { Bytes::new() } else { end.into() };
    let create = WatchCreateRequest {
        key: prefix.to_owned().into(),
        range_end,
        ..WatchCreateRequest::default()
    };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

/// A stream of watches, open until it is dropped. The requests must end then too: as long as they
/// may go on, the library keeps the stream.
pub(super) struct Watching {
    answers: Streaming<WatchResponse>,
    _end: oneshot::Sender<()>,
}

impl Watching {
    pub(super) async fn open(
        channel: &Channel,
        requests: Vec<WatchRequest>,
    ) -> Result<Self, Status> {
        let count = requests.len();
        let (end, ended) = oneshot::channel();
        let open = stream::once(ended).filter_map(async |_| None);
        let requests = stream::iter(requests).chain(open.boxed());
        let mut client =
            WatchClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let answers = client.watch(requests).await?.into_inner();
        let mut watching = Self { answers, _end: end };
        watching.created(count).await?;
        Ok(watching)
    }

    /// Reads on until `count` watches are there.
    async fn created(&mut self, count: usize) -> Result<(), Status> {
        let mut left = count;
        while left > 0 {
            let answer = self.next().await?;
            if answer.canceled {
                return Err(Status::cancelled(answer.cancel_reason));
            }
            left -= usize::from(answer.created);
        }
        Ok(())
    }

    pub(super) async fn next(&mut self) -> Result<WatchResponse, Status> {
        self.answers.message().await?.ok_or_else(|| Status::unavailable("the stream ended"))
    }
}
