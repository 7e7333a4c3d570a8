//! All keys of a range in their order, read in pages of about a size.

use std::collections::VecDeque;

use api::etcdserverpb::{RangeRequest, RangeResponse};
use api::mvccpb::KeyValue;
use bytes::Bytes;

use super::trouble::Result;

/// What a page should weigh: large enough to be worth its round trip.
const PAGE_BYTES: usize = 2 << 20;
const PAGE_KEYS_MAX: usize = 2_000;
/// Nothing is known of the values yet, and each may have a MiB.
const PAGE_KEYS_FIRST: usize = 4;

pub(super) struct Cursor {
    next_key: Bytes,
    range_end: Bytes,
    /// 0: the newest, page by page.
    revision: i64,
    page_keys: usize,
    page: VecDeque<KeyValue>,
    is_last: bool,
}

impl Cursor {
    pub(super) fn new((key, range_end): (Bytes, Bytes), revision: i64) -> Self {
        let (page_keys, page) = (PAGE_KEYS_FIRST, VecDeque::new());
        Self { next_key: key, range_end, revision, page_keys, page, is_last: false }
    }

    /// What to ask before the next key is known; `None`: it is, or there are no more.
    pub(super) fn wants(&self) -> Option<RangeRequest> {
        (self.page.is_empty() && !self.is_last).then(|| RangeRequest {
            key: self.next_key.clone(),
            range_end: self.range_end.clone(),
            revision: self.revision,
            limit: i64::try_from(self.page_keys).unwrap_or(i64::MAX),
            ..RangeRequest::default()
        })
    }

    /// Takes the answer to [`Cursor::wants`].
    pub(super) fn take(&mut self, answer: RangeResponse) {
        self.is_last = !answer.more;
        if let Some(last) = answer.kvs.last() {
            self.next_key = [&last.key[..], &[0]].concat().into();
        }
        let bytes: usize = answer.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
        let bytes_per_key = (bytes / answer.kvs.len().max(1)).max(1);
        self.page_keys = (PAGE_BYTES / bytes_per_key).clamp(1, PAGE_KEYS_MAX);
        self.page = answer.kvs.into();
    }

    /// The next key, once nothing is wanted; `None`: there are no more.
    pub(super) fn peek(&self) -> Option<&KeyValue> {
        self.page.front()
    }

    pub(super) fn pop(&mut self) -> Option<KeyValue> {
        self.page.pop_front()
    }
}

/// Asks `$side` until the next key of `$cursor` is known.
pub(super) async fn fill<F>(cursor: &mut Cursor, mut ask: F) -> Result<()>
where
    F: AsyncFnMut(RangeRequest) -> Result<RangeResponse>,
{
    while let Some(request) = cursor.wants() {
        let answer = ask(request).await?;
        cursor.take(answer);
    }
    Ok(())
}
