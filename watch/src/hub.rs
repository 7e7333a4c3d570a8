//! The hub's handles, for the three who use it: publisher, streams, owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join;
use parking_lot::Mutex;
use store::EventBatch;

use crate::core::{Core, SourceCell, StreamKey};
use crate::event::Batch;
use crate::inbox::Inbox;
use crate::signal::{Signal, yield_now};
use crate::{Options, Source, WatchStream};

/// Batches dispatched before other tasks get to run.
const BATCHES_PER_TURN: usize = 64;
/// Watchers of a gone stream forgotten in one step.
const DROPPED_PER_STEP: usize = 1024;

/// A handle to the hub. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// The end that the state machine holds.
pub struct Publisher {
    shared: Arc<Shared>,
}

/// Counts for metrics.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub streams: usize,
    /// All watchers.
    pub watchers: usize,
    /// Those that are catching up.
    pub slow_watchers: usize,
}

/// Locks are taken in this order: `core`, then a stream's sink; `inbox` and `ready` alone.
pub(crate) struct Shared {
    core: Mutex<Core>,
    inbox: Inbox,
    /// Streams that have room again.
    ready: Mutex<Vec<StreamKey>>,
    catch_up: Signal,
    closed: AtomicBool,
    pub(crate) source: Arc<SourceCell>,
    pub(crate) options: Options,
}

impl Hub {
    /// A hub over `source`, with everything up to the source's revision taken as published.
    pub fn new(source: impl Source, options: Options) -> (Hub, Publisher) {
        let source = Arc::new(SourceCell::new(Arc::new(source)));
        let shared = Arc::new(Shared {
            core: Mutex::new(Core::new(Arc::clone(&source), options)),
            inbox: Inbox::new(options.inbox_bytes),
            ready: Mutex::default(),
            catch_up: Signal::default(),
            closed: AtomicBool::new(false),
            source,
            options,
        });
        (Hub { shared: Arc::clone(&shared) }, Publisher { shared })
    }

    /// A new stream without watchers.
    pub fn open(&self) -> WatchStream {
        let (key, sink) = self.shared.with_core(Core::open);
        // After it is in the map, so that one of `close` and this sees the other.
        if self.shared.is_closed() {
            sink.close();
        }
        WatchStream::new(Arc::clone(&self.shared), key, sink)
    }

    /// Delivers what is published and lets slow watchers catch up, until [`Hub::close`]. The owner
    /// spawns it once.
    pub async fn run(self) {
        join(self.shared.run_dispatch(), self.shared.run_catch_up()).await;
    }

    /// Tells the time, in milliseconds of any steady clock that began near 0; about ten times a
    /// second will do.
    pub fn tick(&self, now_ms: u64) {
        self.shared.with_core(|core| core.tick(now_ms));
    }

    pub fn stats(&self) -> Stats {
        self.shared.with_core(|core| core.stats())
    }

    /// Ends [`Hub::run`] and, after what waits in them, every stream.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.with_core(|core| core.close());
        self.shared.inbox.signal.set();
        self.shared.catch_up.set();
    }
}

impl Publisher {
    /// Hands over what was applied, in order, once the source shows it. Never waits for anybody.
    pub fn publish(&self, batches: &[Arc<EventBatch>]) {
        self.shared.inbox.push(batches);
    }

    /// The whole state was replaced (a snapshot was installed): from now on `source` is read. What
    /// it has beyond the last batch was never published; watchers read it from history.
    pub fn reset(&self, source: impl Source) {
        let revision = source.revision();
        drop(self.shared.inbox.take());
        self.shared.source.set(Arc::new(source));
        self.shared.with_core(|core| {
            core.jump(revision);
            core.give_turns();
            core.settle_progress();
            core.wake_streams();
        });
    }
}

impl Shared {
    /// One step under the lock; wakes the catch-up if the step left something for it.
    pub(crate) fn with_core<T>(&self, step: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core.lock();
        let answer = step(&mut core);
        let more = core.has_turns();
        drop(core);
        if more {
            self.catch_up.set();
        }
        answer
    }

    /// A stream that was full has room again.
    pub(crate) fn has_room(&self, stream: StreamKey) {
        self.ready.lock().push(stream);
        self.catch_up.set();
    }

    /// Ends a stream, in steps, so that others are served in between.
    pub(crate) fn drop_stream(&self, stream: StreamKey) {
        while !self.with_core(|core| core.drop_stream(stream, DROPPED_PER_STEP)) {}
        self.with_core(Core::settle_progress);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    async fn run_dispatch(&self) {
        loop {
            self.inbox.signal.wait().await;
            if self.is_closed() {
                return;
            }
            self.dispatch_pending().await;
            yield_now().await;
        }
    }

    async fn dispatch_pending(&self) {
        let pending = self.inbox.take();
        if let Some(revision) = pending.lost_to {
            self.with_core(|core| core.jump(revision));
        }
        for (count, batch) in pending.batches.iter().enumerate() {
            let batch = Arc::new(Batch::new(batch));
            self.with_core(|core| core.dispatch(&batch));
            if count % BATCHES_PER_TURN == BATCHES_PER_TURN - 1 {
                yield_now().await;
            }
        }
        self.with_core(Core::settle_progress);
    }

    async fn run_catch_up(&self) {
        loop {
            self.catch_up.wait().await;
            while !self.is_closed() && self.catch_up_once() {
                yield_now().await;
            }
            if self.is_closed() {
                return;
            }
        }
    }

    /// One slice. `false`: there was none to serve.
    fn catch_up_once(&self) -> bool {
        fail::fail_point!("beforeSyncWatchers");
        let ready = std::mem::take(&mut *self.ready.lock());
        if !ready.is_empty() {
            fail::fail_point!("beforeMoveVictims");
        }
        let planned = {
            let mut core = self.core.lock();
            ready.into_iter().for_each(|stream| core.give_turn(stream));
            core.plan()
        };
        let Some(mut slice) = planned else { return false };
        let read = slice.read();
        self.core.lock().hand_out(&slice, read);
        true
    }
}
