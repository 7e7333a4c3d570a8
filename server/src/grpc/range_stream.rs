//! `RangeStream`: a range in chunks that merge into what `Range` answers.
//!
//! The plan pins one revision, so the chunks fit together whatever is written meanwhile; the last
//! one alone has the header, `more` and the count. The values of a chunk are read when the client
//! has room for it.

use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader};
use api::mvccpb::KeyValue;
use futures::StreamExt;
use futures::stream::BoxStream;
use store::RangePlan;
use tonic::Status;

use super::Context;
use super::errors::Error;
use super::feed::{STALL_MAX, feed};
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
    let bytes_max = context.request_bytes_max();
    let mut chunks = Chunks { plan, bytes_max, ready: None, first: true, done: false };
    let answers = feed(context.readers().clone(), move || chunks.next(), STALL_MAX);
    let answers = answers.map(move |chunk| {
        let mut response = chunk?;
        if let Some(header) = &mut response.header {
            context.fill_without_revision(header);
        }
        Ok(RangeStreamResponse { range_response: Some(response) })
    });
    answers.boxed()
}

struct Chunks {
    plan: RangePlan,
    bytes_max: usize,
    /// Read and not yet sent: only the one after it tells whether it is the last.
    ready: Option<Vec<KeyValue>>,
    first: bool,
    done: bool,
}

impl Chunks {
    /// The next chunk; `None` after the last. Blocks.
    fn next(&mut self) -> Result<Option<RangeResponse>, store::Error> {
        if self.done {
            return Ok(None);
        }
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
            return Ok(Some(chunk));
        }
        self.done = true;
        let header = ResponseHeader { revision: self.plan.revision(), ..Default::default() };
        let (more, count) = (self.plan.more(), self.plan.count());
        Ok(Some(RangeResponse { header: Some(header), more, count, ..chunk }))
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
