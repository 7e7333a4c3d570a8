//! The queue between the hub and one stream, bounded by bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::berthpb::EncodedWatchResponse;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::event::SharedEvent;
use crate::options::CONTROLS_MAX;

/// Bytes that a queued progress notification counts.
const PROGRESS_COST_BYTES: usize = 64;
/// A stream takes so many responses at once, and this part of the queue's bound; they no longer count.
const TAKEN_MAX: usize = 64;
const TAKEN_PART: usize = 64;

pub(crate) type Events = SmallVec<[Arc<SharedEvent>; 1]>;

/// A response before its events are encoded.
pub(crate) enum Queued {
    /// An answer to a request, or the end of a watch: always accepted.
    Control(Box<EncodedWatchResponse>),
    Progress {
        watch_id: i64,
        revision: i64,
    },
    Events(Delivery),
}

/// Events for one watcher.
pub(crate) struct Delivery {
    pub(crate) watch_id: i64,
    /// For the header.
    pub(crate) revision: i64,
    pub(crate) events: Events,
    pub(crate) prev_kv: bool,
    pub(crate) fragment: bool,
}

impl Queued {
    fn cost(&self) -> usize {
        match self {
            Queued::Control(_) => 0,
            Queued::Progress { .. } => PROGRESS_COST_BYTES,
            Queued::Events(delivery) => {
                delivery.events.iter().map(|event| event.cost(delivery.prev_kv)).sum()
            }
        }
    }
}

pub(crate) struct Sink {
    queue: Mutex<Queue>,
    waker: AtomicWaker,
    bytes_max: usize,
}

#[derive(Default)]
struct Queue {
    responses: VecDeque<Queued>,
    /// Sum of their costs.
    bytes: usize,
    controls: usize,
    /// Somebody was refused for want of room and waits to hear that there is some.
    awaited: bool,
    closed: bool,
}

/// What came of an offer.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) enum Offer {
    /// There was no room.
    Refused,
    /// It stands behind others: the stream is at them, or was woken for them.
    Behind,
    /// The stream has to be woken.
    First,
}

/// Streams that are woken when a step is over, by dropping this. Woken at their first event, they
/// would take the step's events one at a time, and hold up the step.
#[derive(Default)]
pub(crate) struct Wakes(Vec<Arc<Sink>>);

impl Wakes {
    pub(crate) fn add(&mut self, sink: &Arc<Sink>) {
        self.0.push(Arc::clone(sink));
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.0.iter().for_each(|sink| sink.waker.wake());
    }
}

impl Sink {
    pub(crate) fn new(bytes_max: usize) -> Sink {
        let bytes_max = bytes_max.max(2);
        Sink { queue: Mutex::default(), waker: AtomicWaker::new(), bytes_max }
    }

    /// Queues an answer, whatever waits already.
    pub(crate) fn push(&self, response: EncodedWatchResponse) {
        let mut queue = self.queue.lock();
        queue.controls += 1;
        queue.responses.push_back(Queued::Control(Box::new(response)));
        drop(queue);
        self.waker.wake();
    }

    /// Queues a response unless the queue is full; one response may pass the bound. The caller
    /// wakes the stream ([`Wakes`]).
    #[must_use]
    pub(crate) fn offer(&self, response: Queued) -> Offer {
        let mut queue = self.queue.lock();
        if queue.bytes >= self.bytes_max {
            queue.awaited = true;
            return Offer::Refused;
        }
        let offer = if queue.responses.is_empty() { Offer::First } else { Offer::Behind };
        queue.bytes += response.cost();
        queue.responses.push_back(response);
        offer
    }

    /// Is the queue at most half full? If not, [`Taken::room_awaited`] will tell when it is.
    pub(crate) fn has_room(&self) -> bool {
        let mut queue = self.queue.lock();
        let room = queue.bytes < self.bytes_max / 2;
        queue.awaited |= !room;
        room
    }

    pub(crate) fn congested(&self) -> bool {
        self.queue.lock().controls >= CONTROLS_MAX
    }

    /// Ends the stream. What waits is still taken first.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.waker.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }

    /// The stream is woken by whatever comes next.
    pub(crate) fn register(&self, context: &Context<'_>) {
        self.waker.register(context.waker());
    }

    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Moves some of what waits to the end of `taken`. `Some(true)`: there is room now, and somebody
    /// waits for it; `None`: the queue was closed and is empty.
    pub(crate) fn poll_take(
        &self,
        context: &mut Context<'_>,
        taken: &mut VecDeque<Queued>,
    ) -> Poll<Option<bool>> {
        // First register, then look: a push between the two is not missed.
        self.register(context);
        let mut queue = self.queue.lock();
        if queue.responses.is_empty() {
            return if queue.closed { Poll::Ready(None) } else { Poll::Pending };
        }
        let mut bytes = 0;
        for _ in 0..TAKEN_MAX {
            let Some(response) = queue.responses.pop_front() else { break };
            bytes += response.cost();
            queue.controls -= usize::from(matches!(response, Queued::Control(_)));
            taken.push_back(response);
            if bytes >= self.bytes_max / TAKEN_PART {
                break;
            }
        }
        queue.bytes -= bytes;
        let room_awaited = queue.awaited && queue.bytes < self.bytes_max / 2;
        queue.awaited &= !room_awaited;
        Poll::Ready(Some(room_awaited))
    }
}
