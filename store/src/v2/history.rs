//! The newest changes, for those who watch.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::event::Event;
use super::path::{Path, is_below, is_hidden};
use super::refusal::{Reason, Refusal};

/// So many changes are kept, as by etcd.
pub const HISTORY_EVENTS_MAX: usize = 1000;

/// And not more bytes of paths and values than this, but for the newest.
pub const HISTORY_BYTES_MAX: usize = 64 << 20;

/// Bytes that an event takes beside paths and values, roughly.
const EVENT_OVERHEAD_BYTES: usize = 256;

/// Indexes are without gaps, so the place of an event is its distance from the first.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

/// Which changes somebody wants to hear of.
#[derive(Clone, Debug)]
pub struct Interest {
    pub path: Path,
    /// Those below it too.
    pub recursive: bool,
    /// The index of the tree when it was said. As in etcd, what is hidden is told of what was
    /// before, and not of what comes.
    pub said_at: u64,
}

/// What the history has for an [`Interest`].
#[derive(Clone, Debug)]
pub struct Past {
    /// The first event that is wanted.
    pub event: Option<Arc<Event>>,
    /// Where to look on: the first index that was not looked at.
    pub next: u64,
}

impl History {
    /// Indexes of the oldest events that were pushed out.
    pub(super) fn push(&mut self, event: Arc<Event>) -> Vec<u64> {
        let next = self.events.back().map(|last| last.index() + 1);
        assert!(next.is_none_or(|next| next == event.index()), "indexes are without gaps");
        self.bytes += bytes_of(&event);
        self.events.push_back(event);
        let mut cleared = Vec::new();
        while self.is_too_large()
            && let Some(oldest) = self.events.pop_front()
        {
            self.bytes -= bytes_of(&oldest);
            cleared.push(oldest.index());
        }
        cleared
    }

    fn is_too_large(&self) -> bool {
        let is_too_long = self.events.len() > HISTORY_EVENTS_MAX;
        is_too_long || (self.bytes > HISTORY_BYTES_MAX && self.events.len() > 1)
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.events.iter()
    }

    /// Looks from index `from` on; `index` is that of the tree.
    pub(super) fn look(&self, interest: &Interest, from: u64, index: u64) -> Result<Past, Refusal> {
        let first = self.events.front().map_or(0, |event| event.index());
        let Some(place) = from.checked_sub(first) else {
            let reason = Reason::HistoryCleared;
            let cause = format!("the requested history has been cleared [{first}/{from}]").into();
            return Err(Refusal { reason, cause, index });
        };
        let place =
            usize::try_from(place).map_or(self.events.len(), |it| it.min(self.events.len()));
        let event = self.events.range(place..).find(|event| interest.wants(event)).cloned();
        let next = event.as_ref().map_or(index + 1, |event| event.index() + 1);
        Ok(Past { event, next: next.max(from) })
    }
}

impl Interest {
    fn wants(&self, event: &Event) -> bool {
        if event.refresh {
            return false;
        }
        let (watched, changed) = (self.path.as_bytes(), &event.node.path);
        let is_visible = event.index() <= self.said_at || !is_hidden(changed, watched);
        watched == changed
            || (self.recursive && is_below(changed, watched) && is_visible)
            || (event.removed_dir() && is_below(watched, changed))
    }
}

fn bytes_of(event: &Event) -> usize {
    let seen = [Some(&event.node), event.prev.as_ref()];
    let bytes = seen
        .into_iter()
        .flatten()
        .map(|seen| seen.path.len() + seen.value.as_ref().map_or(0, Bytes::len));
    bytes.sum::<usize>() + EVENT_OVERHEAD_BYTES
}
