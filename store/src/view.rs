//! The store as it is at one revision, for as long as somebody looks.

use std::ops::ControlFlow;
use std::sync::Arc;

use api::etcdserverpb::{RangeRequest, RangeResponse};
use bytes::Bytes;

use crate::key_range::KeyRange;
use crate::select::{Found, Selector};
use crate::shared::{Pin, SLICE_KEYS_MAX, Shared};
use crate::state::{State, revision_of};
use crate::write::key_value;
use crate::{Entry, Error, response};

/// Reads go in slices; the state is unlocked in between, and stays as it was all the same.
pub(crate) struct View {
    pub(crate) shared: Arc<Shared>,
    /// "Now" for this view.
    pub(crate) revision: i64,
    /// What was compacted when it was taken.
    pub(crate) compact_revision: i64,
    _pin: Pin,
}

impl View {
    /// At the newest revision, if `admit` lets the caller in.
    pub(crate) fn now(
        shared: &Arc<Shared>,
        admit: impl FnOnce(&State) -> Result<(), Error>,
    ) -> Result<View, Error> {
        let state = shared.state.read();
        admit(&state)?;
        Ok(View {
            shared: Arc::clone(shared),
            revision: state.revision,
            compact_revision: state.compact_revision,
            // Old revisions that are not compacted yet can be asked for through this view.
            _pin: shared.pin(state.compact_revision),
        })
    }

    /// The version of `key` that exists now.
    pub(crate) fn current(&self, key: &[u8]) -> Option<Entry> {
        let state = self.shared.state.read();
        state.index.get(key)?.at(self.revision)
    }

    /// The keys that a request means.
    pub(crate) fn find(&self, request: &RangeRequest) -> Result<Found, Error> {
        let at = revision_of(request.revision, self.revision, self.compact_revision)?;
        let mut state = self.shared.state.read();
        let range = KeyRange::new(&request.key, &request.range_end);
        let count = match range.single() {
            Some(_) => None,
            None => state.count(&range, at, state.revision),
        };
        let mut selector = Selector::new(request, at, count);
        while selector.walk(&state.index, SLICE_KEYS_MAX) {
            drop(state);
            state = self.shared.state.read();
        }
        drop(state);
        Ok(selector.finish())
    }

    /// Visits the versions that exist now in `range`, until the visitor breaks.
    pub(crate) fn each(
        &self,
        range: KeyRange<'_>,
        mut visitor: impl FnMut(&Entry) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        let mut rest = Some(range);
        let mut slice = Vec::new();
        while let Some(range) = rest.take() {
            let mut seen = 0;
            self.shared.state.read().index.visit(&range, |key, history| {
                slice.extend(history.at(self.revision));
                seen += 1;
                if seen < SLICE_KEYS_MAX {
                    return ControlFlow::Continue(());
                }
                rest = Some(range.after(key));
                ControlFlow::Break(())
            });
            for entry in slice.drain(..) {
                if visitor(&entry)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The value of a version that this view shows.
    pub(crate) fn value(&self, entry: &Entry) -> Result<Bytes, Error> {
        let mut values = self.shared.pinned_values(std::iter::once(entry))?;
        Ok(values.pop().expect("one value for one entry"))
    }
}

/// The values of what was found, in its final order.
pub(crate) fn values_of(shared: &Shared, found: &mut Found) -> Result<Vec<Bytes>, Error> {
    let values = shared.pinned_values(found.entries())?;
    Ok(match found.by_value.take() {
        Some(order) => found.sort_by_value(order, values),
        None => values,
    })
}

/// The whole answer to a range request.
pub(crate) fn range_response(
    shared: &Shared,
    mut found: Found,
    keys_only: bool,
    revision: i64,
) -> Result<RangeResponse, Error> {
    let values = if keys_only && found.by_value.is_none() {
        vec![Bytes::new(); found.len()]
    } else {
        values_of(shared, &mut found)?
    };
    let kvs = values.into_iter().enumerate().map(|(place, value)| {
        let value = if keys_only { Bytes::new() } else { value };
        key_value(found.key(place), found.entry(place), value)
    });
    Ok(RangeResponse {
        header: response::header(revision),
        kvs: kvs.collect(),
        more: found.more,
        count: response::count(found.count),
    })
}
