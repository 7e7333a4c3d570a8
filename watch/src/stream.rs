//! One client's stream of watches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::berthpb::EncodedWatchResponse;
use api::etcdserverpb::WatchCreateRequest;
use store::Error;

use crate::core::{StreamKey, answer};
use crate::fragment::fragments;
use crate::hub::Shared;
use crate::sink::{Delivery, Queued, Sink};

/// Why a watch was not created. The caller knows the words for it: [`WatchStream::refuse`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum CreateError {
    /// The start revision is negative.
    NegativeStart,
    /// No key can lie in the range.
    EmptyRange,
    /// The stream has a watch of that id.
    DuplicateId,
}

/// Many watches that share one queue of responses. Dropping it ends them all.
pub struct WatchStream {
    shared: Arc<Shared>,
    key: StreamKey,
    sink: Arc<Sink>,
    /// What was taken from the sink and is not sent yet.
    taken: VecDeque<Queued>,
    /// The rest of a response that was split.
    fragments: VecDeque<EncodedWatchResponse>,
}

impl WatchStream {
    pub(crate) fn new(shared: Arc<Shared>, key: StreamKey, sink: Arc<Sink>) -> WatchStream {
        WatchStream { shared, key, sink, taken: VecDeque::new(), fragments: VecDeque::new() }
    }

    /// Starts a watch and queues its `created` response; answers its id. Where history is gone at
    /// its start revision, `canceled` with `compact_revision` follows.
    ///
    /// # Errors
    /// Nothing was queued then.
    pub fn create(&mut self, request: &WatchCreateRequest) -> Result<i64, CreateError> {
        self.shared.with_core(|core| core.create(self.key, request))
    }

    /// Queues the answer to a create request that is refused: created, canceled, id -1.
    pub fn refuse(&mut self, reason: String) {
        self.shared.with_core(|core| core.refuse(self.key, reason));
    }

    /// Ends a watch and queues the `canceled` response; does nothing if there is none of that id.
    pub fn cancel(&mut self, watch_id: i64) {
        self.shared.with_core(|core| core.cancel(self.key, watch_id));
    }

    /// Queues a response with watch id -1 as soon as all watches of the stream have all events up
    /// to a revision not below the present one.
    pub fn request_progress(&mut self) {
        fail::fail_point!("beforeProgressIfSync");
        self.shared.with_core(|core| core.request_progress(self.key));
    }

    /// So many answers wait for the client that it should not get to ask for more now.
    pub fn congested(&self) -> bool {
        self.sink.congested()
    }

    /// The next response, its header with the revision only. `None`: the hub was closed, or cannot
    /// serve this stream any more. Cancel safe.
    pub async fn next(&mut self) -> Option<EncodedWatchResponse> {
        futures::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The same for those who poll.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<EncodedWatchResponse>> {
        if let Some(fragment) = self.fragments.pop_front() {
            return Poll::Ready(Some(fragment));
        }
        if self.taken.is_empty() {
            match self.sink.poll_take(context, &mut self.taken) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(true)) => self.shared.has_room(self.key),
                Poll::Ready(Some(false)) => {}
            }
        }
        let Some(response) = self.taken.pop_front() else { return Poll::Pending };
        let response = match response {
            Queued::Control(response) => *response,
            Queued::Progress { watch_id, revision } => answer(revision, watch_id),
            Queued::Events(delivery) => return self.poll_events(delivery, context),
        };
        Poll::Ready(Some(response))
    }

    fn poll_events(
        &mut self,
        delivery: Delivery,
        context: &mut Context<'_>,
    ) -> Poll<Option<EncodedWatchResponse>> {
        // First register, then read: the end of a state that is replaced meanwhile is not missed.
        self.sink.register(context);
        match self.encode(&delivery) {
            Ok(response) => Poll::Ready(Some(response)),
            // Another state takes the place of the one that was read, and has it too.
            Err(Error::Replaced) if !self.sink.is_closed() => {
                self.taken.push_front(Queued::Events(delivery));
                Poll::Pending
            }
            // The engine failed: the server is about to stop.
            Err(_) => Poll::Ready(None),
        }
    }

    fn encode(&mut self, delivery: &Delivery) -> Result<EncodedWatchResponse, Error> {
        let source = self.shared.source.get();
        let events = delivery.events.iter();
        let events = events.map(|event| event.encoded(delivery.prev_kv, source.as_ref()));
        let events = events.collect::<Result<Vec<_>, _>>()?;
        let whole = EncodedWatchResponse { events, ..answer(delivery.revision, delivery.watch_id) };
        if !delivery.fragment {
            return Ok(whole);
        }
        let mut parts = fragments(whole, self.shared.options.max_response_bytes);
        let first = parts.pop_front().expect("a response has at least one part");
        self.fragments = parts;
        Ok(first)
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.shared.drop_stream(self.key);
    }
}
