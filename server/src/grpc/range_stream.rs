//! `RangeStream`: a range in chunks that merge into what `Range` answers.
//!
//! The plan pins one revision, so the chunks fit together whatever is written meanwhile; the last
//! one alone has the header, `more` and the count. The values of a chunk are read when the client
//! has room for it.

use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader};
use api::mvccpb::KeyValue;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use store::RangePlan;
use tokio::task::spawn_blocking;
use tonic::Status;

use super::Context;
use super::errors::Error;
use super::reads::has_revision_filters;

/// Keys in the first chunk, so that a client soon has something to do.
const FIRST_CHUNK_KEYS: usize = 10;

pub(super) type RangeStream = BoxStream<'static, Result<RangeStreamResponse, Status>>;

/// # Errors
/// What `Range` refuses first, then what only `Range` can do.
pub(super) fn check(range: &RangeRequest) -> Result<(), Error> {
    let sorts = range.sort_order != SortOrder::None as i32;
    let as_stored =
        range.sort_order == SortOrder::Ascend as i32 && range.sort_target == SortTarget::Key as i32;
    let known = SortOrder::try_from(range.sort_order).is_ok()
        && SortTarget::try_from(range.sort_target).is_ok();
    if range.key.is_empty() {
        Err(store::Error::EmptyKey.into())
    } else if !known {
        Err(store::Error::InvalidSortOption.into())
    } else if sorts && !as_stored {
        Err(Error::StreamWithSort)
    } else if has_revision_filters(range) {
        Err(Error::StreamWithRevisionFilters)
    } else {
        Ok(())
    }
}

pub(super) fn start(context: Context, plan: RangePlan) -> RangeStream {
    let chunks = Chunks { bytes_max: context.request_bytes_max(), plan, ready: None, first: true };
    stream::unfold(Some((context, chunks)), step).boxed()
}

type State = Option<(Context, Chunks)>;

/// The next response and what follows it; `None` after the last.
async fn step(state: State) -> Option<(Result<RangeStreamResponse, Status>, State)> {
    let (context, chunks) = state?;
    let read = spawn_blocking(move || {
        let mut chunks = chunks;
        (chunks.next(), chunks)
    });
    match read.await {
        Ok((Ok((mut response, last)), chunks)) => {
            if let Some(header) = &mut response.header {
                context.fill_without_revision(header);
            }
            let next = (!last).then_some((context, chunks));
            Some((Ok(RangeStreamResponse { range_response: Some(response) }), next))
        }
        Ok((Err(error), _)) => Some((Err(Error::from(error).into()), None)),
        Err(error) => Some((Err(Error::Internal(error.to_string()).into()), None)),
    }
}

struct Chunks {
    plan: RangePlan,
    bytes_max: usize,
    /// Read and not yet sent: only the one after it tells whether it is the last.
    ready: Option<Vec<KeyValue>>,
    first: bool,
}

impl Chunks {
    /// The next chunk, and whether it is the last. Blocks.
    fn next(&mut self) -> Result<(RangeResponse, bool), store::Error> {
        let mut kvs = match self.ready.take() {
            Some(kvs) => kvs,
            None => self.plan.next_chunk(self.bytes_max)?.unwrap_or_default(),
        };
        if std::mem::take(&mut self.first) && kvs.len() > FIRST_CHUNK_KEYS {
            self.ready = Some(kvs.split_off(FIRST_CHUNK_KEYS));
        } else {
            self.ready = self.plan.next_chunk(self.bytes_max)?;
        }
        let chunk = RangeResponse { kvs, ..RangeResponse::default() };
        if self.ready.is_some() {
            return Ok((chunk, false));
        }
        let header = ResponseHeader { revision: self.plan.revision(), ..Default::default() };
        let (more, count) = (self.plan.more(), self.plan.count());
        Ok((RangeResponse { header: Some(header), more, count, ..chunk }, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> RangeRequest {
        RangeRequest { key: b"k".as_slice().into(), ..Default::default() }
    }

    #[test]
    fn only_keys_in_their_own_order_can_be_streamed() {
        // Shows which orders and filters are refused, and in which order etcd checks.
        let sorted = |order: SortOrder, target: SortTarget| RangeRequest {
            sort_order: order as i32,
            sort_target: target as i32,
            ..range()
        };
        assert_eq!(check(&sorted(SortOrder::Ascend, SortTarget::Key)), Ok(()));
        assert_eq!(check(&sorted(SortOrder::None, SortTarget::Value)), Ok(()));
        let descending = sorted(SortOrder::Descend, SortTarget::Key);
        assert_eq!(check(&descending), Err(Error::StreamWithSort));
        let by_value = sorted(SortOrder::Ascend, SortTarget::Value);
        assert_eq!(check(&by_value), Err(Error::StreamWithSort));
        let filtered = RangeRequest { max_create_revision: 3, ..range() };
        assert_eq!(check(&filtered), Err(Error::StreamWithRevisionFilters));
        let unknown = RangeRequest { sort_order: 7, ..filtered };
        assert_eq!(check(&unknown), Err(store::Error::InvalidSortOption.into()));
        assert_eq!(check(&RangeRequest::default()), Err(store::Error::EmptyKey.into()));
    }
}
