//! One client's stream of watches.

use std::task::{Context, Poll};

use api::berthpb::EncodedWatchResponse;
use api::etcdserverpb::WatchCreateRequest;

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
pub struct WatchStream {}

impl WatchStream {
    /// Starts a watch and queues its `created` response; answers its id.
    ///
    /// # Errors
    /// Nothing was queued then.
    pub fn create(&mut self, _request: &WatchCreateRequest) -> Result<i64, CreateError> {
        unimplemented!()
    }

    /// Queues the answer to a create request that is refused: created, canceled, id -1.
    pub fn refuse(&mut self, _reason: String) {
        unimplemented!()
    }

    /// Ends a watch and queues the `canceled` response; does nothing if there is none of that id.
    pub fn cancel(&mut self, _watch_id: i64) {
        unimplemented!()
    }

    /// Queues a response with watch id -1 as soon as all watches of the stream have all events up
    /// to a revision not below the present one.
    pub fn request_progress(&mut self) {
        unimplemented!()
    }

    /// So many answers wait for the client that it should not get to ask for more now.
    pub fn congested(&self) -> bool {
        unimplemented!()
    }

    /// The next response, its header with the revision only. `None`: the hub was closed, or cannot
    /// serve this stream any more.
    pub async fn next(&mut self) -> Option<EncodedWatchResponse> {
        futures::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The same for those who poll; nothing is lost if the caller stops polling.
    pub fn poll_next(&mut self, _context: &mut Context<'_>) -> Poll<Option<EncodedWatchResponse>> {
        unimplemented!()
    }
}
