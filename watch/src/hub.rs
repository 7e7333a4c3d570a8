//! The hub: handles for the three who use it (publisher, streams, owner).

use std::sync::Arc;

use store::EventBatch;

use crate::{Options, Source, WatchStream};

/// A handle to the hub. Cheap to clone.
#[derive(Clone)]
pub struct Hub {}

/// The end that the state machine holds.
pub struct Publisher {}

/// Counts for metrics.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub streams: usize,
    pub watchers: usize,
    /// Watchers that are catching up.
    pub slow_watchers: usize,
}

impl Hub {
    /// A hub over `source`, with everything up to the source's revision taken as published.
    pub fn new(_source: impl Source, _options: Options) -> (Hub, Publisher) {
        unimplemented!()
    }

    /// A new stream without watchers.
    pub fn open(&self) -> WatchStream {
        unimplemented!()
    }

    /// Delivers what is published and lets slow watchers catch up, until [`Hub::close`]. The owner
    /// spawns it once.
    pub async fn run(self) {
        unimplemented!()
    }

    /// Tells the time, in milliseconds of any steady clock; about ten times a second will do.
    pub fn tick(&self, _now_ms: u64) {
        unimplemented!()
    }

    pub fn stats(&self) -> Stats {
        unimplemented!()
    }

    /// Ends [`Hub::run`] and every stream.
    pub fn close(&self) {
        unimplemented!()
    }
}

impl Publisher {
    /// Hands over what was applied, in order, once the source shows it. Never waits for anybody.
    pub fn publish(&self, _batches: &[Arc<EventBatch>]) {
        unimplemented!()
    }

    /// The whole state was replaced (a snapshot was installed): from now on `source` is read, and
    /// what it has beyond the last batch was never published.
    pub fn reset(&self, _source: impl Source) {
        unimplemented!()
    }
}
