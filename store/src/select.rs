//! Choosing the keys of a range request, in slices, without their values.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use api::etcdserverpb::RangeRequest;
use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use bytes::Bytes;

use crate::Entry;
use crate::index::{History, Index};
use crate::key_range::KeyRange;

/// What was chosen. The values follow when they are needed.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// All keys, one behind the other.
    keys: Bytes,
    items: Vec<Item>,
    /// Keys in the range, before limit and filters.
    pub(crate) count: usize,
    /// The limit cut something off.
    pub(crate) more: bool,
    /// The order of the values decides, and then the limit: [`Found::sort_by_value`] is due.
    pub(crate) by_value: Option<ByValue>,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    key_start: usize,
    key_len: usize,
    entry: Entry,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ByValue {
    descend: bool,
    limit: usize,
}

impl Found {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn key(&self, place: usize) -> Bytes {
        let item = &self.items[place];
        self.keys.slice(item.key_start..item.key_start + item.key_len)
    }

    pub(crate) fn key_len(&self, place: usize) -> usize {
        self.items[place].key_len
    }

    pub(crate) fn entry(&self, place: usize) -> &Entry {
        &self.items[place].entry
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.items.iter().map(|item| &item.entry)
    }

    /// Orders by values, which are given in the order of the items, and cuts. Returns the values
    /// in the new order.
    pub(crate) fn sort_by_value(&mut self, order: ByValue, values: Vec<Bytes>) -> Vec<Bytes> {
        let mut both: Vec<_> = self.items.drain(..).zip(values).collect();
        both.sort_by(|a, b| directed(order.descend, a.1.cmp(&b.1)));
        self.more = order.limit > 0 && both.len() > order.limit;
        if self.more {
            both.truncate(order.limit);
        }
        let (items, values) = both.into_iter().unzip();
        self.items = items;
        values
    }
}

fn directed(descend: bool, ordering: Ordering) -> Ordering {
    if descend { ordering.reverse() } else { ordering }
}

/// A walk over the keys of one request.
pub(crate) struct Selector<'r> {
    request: &'r RangeRequest,
    at: i64,
    /// What is still to be walked; `None` at the end.
    rest: Option<KeyRange<'r>>,
    /// Keys to take; more are only counted.
    take_max: usize,
    /// The number of keys, if it need not be walked for.
    count: Option<usize>,
    counted: usize,
    keys: Vec<u8>,
    items: Vec<Item>,
}

impl<'r> Selector<'r> {
    /// For reading at revision `at`. `count` says how many keys the range has there, if that is
    /// known.
    pub(crate) fn new(request: &'r RangeRequest, at: i64, count: Option<usize>) -> Self {
        let take_max = if request.count_only { 0 } else { take_max(request) };
        let range = KeyRange::new(&request.key, &request.range_end);
        let is_counted = take_max == 0 && count.is_some();
        Selector {
            request,
            at,
            rest: (!range.is_empty() && !is_counted).then_some(range),
            take_max,
            count,
            counted: 0,
            keys: Vec::new(),
            items: Vec::new(),
        }
    }

    /// Walks over up to `keys_max` keys. True if there is more to walk.
    pub(crate) fn walk(&mut self, index: &Index, keys_max: usize) -> bool {
        let Some(range) = self.rest.take() else { return false };
        if let Some(key) = range.single() {
            if let Some(history) = index.get(key) {
                let _ = self.see(key, history);
            }
            return false;
        }
        let mut left = keys_max;
        let mut last = None;
        index.visit(&range, |key, history| {
            if self.see(key, history).is_break() {
                return ControlFlow::Break(());
            }
            left -= 1;
            if left == 0 {
                last = Some(range.after(key));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        self.rest = last;
        self.rest.is_some()
    }

    /// Breaks when nothing more is wanted.
    fn see(&mut self, key: &[u8], history: &History) -> ControlFlow<()> {
        let Some(entry) = history.at(self.at) else { return ControlFlow::Continue(()) };
        self.counted += 1;
        if self.items.len() < self.take_max {
            if passes(self.request, &entry) {
                let key_start = self.keys.len();
                self.keys.extend_from_slice(key);
                self.items.push(Item { key_start, key_len: key.len(), entry });
            }
            if self.items.len() < self.take_max || self.count.is_none() {
                return ControlFlow::Continue(());
            }
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    pub(crate) fn finish(self) -> Found {
        let mut found = Found {
            keys: Bytes::from(self.keys),
            items: self.items,
            count: self.count.unwrap_or(self.counted),
            ..Found::default()
        };
        found.order(self.request);
        found
    }
}

impl Found {
    fn order(&mut self, request: &RangeRequest) {
        let limit = limit_of(request);
        let target = request.sort_target();
        let descend = request.sort_order() == SortOrder::Descend;
        if target == SortTarget::Value {
            self.by_value = Some(ByValue { descend, limit });
            return;
        }
        let keys = &self.keys;
        let key = |item: &Item| &keys[item.key_start..item.key_start + item.key_len];
        match target {
            // Equal ones stay in the order of their keys, also when descending.
            SortTarget::Version => {
                self.items.sort_by(|a, b| directed(descend, a.entry.version.cmp(&b.entry.version)));
            }
            SortTarget::Create => self.items.sort_by(|a, b| {
                directed(descend, a.entry.create_revision.cmp(&b.entry.create_revision))
            }),
            SortTarget::Mod => self.items.sort_by(|a, b| {
                directed(descend, a.entry.revision.main.cmp(&b.entry.revision.main))
            }),
            SortTarget::Key if descend => self.items.sort_by(|a, b| key(b).cmp(key(a))),
            SortTarget::Key | SortTarget::Value => {}
        }
        self.more = limit > 0 && self.items.len() > limit;
        if self.more {
            self.items.truncate(limit);
        }
    }
}

/// 0 is none.
fn limit_of(request: &RangeRequest) -> usize {
    usize::try_from(request.limit).unwrap_or(0)
}

/// How many keys to look for: one more than the limit says whether there are more.
///
/// Like etcd, an order that is not asked for by name (`NONE` by another target than the key) is
/// only applied to the first keys that the limit lets through.
fn take_max(request: &RangeRequest) -> usize {
    let by_key = request.sort_target() == SortTarget::Key;
    let in_walking_order = match request.sort_order() {
        SortOrder::None => true,
        SortOrder::Ascend => by_key,
        SortOrder::Descend => false,
    };
    match limit_of(request) {
        limit if limit > 0 && in_walking_order && !has_filters(request) => limit.saturating_add(1),
        _ => usize::MAX,
    }
}

fn has_filters(request: &RangeRequest) -> bool {
    request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

fn passes(request: &RangeRequest, entry: &Entry) -> bool {
    let within =
        |value: i64, min: i64, max: i64| (min == 0 || min <= value) && (max == 0 || value <= max);
    within(entry.revision.main, request.min_mod_revision, request.max_mod_revision)
        && within(entry.create_revision, request.min_create_revision, request.max_create_revision)
}
