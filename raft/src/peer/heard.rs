//! When the leader was last heard.
//!
//! Openraft names the leader it knows for as long as it knows no other, also when that one has
//! been gone for an hour: with pre-vote, losing the leader changes nothing at a follower that
//! cannot win. Clients want to know whether there is a leader, so somebody has to look at the time.

use std::sync::Arc;
use std::time::Duration;

use openraft::{AsyncRuntime, Instant};
use parking_lot::Mutex;

/// Clones share it.
pub(crate) struct Heard<R: AsyncRuntime> {
    at: Arc<Mutex<R::Instant>>,
}

impl<R: AsyncRuntime> Heard<R> {
    /// As if the leader were heard at this moment: a start must not look like a loss.
    pub(crate) fn new() -> Heard<R> {
        Heard { at: Arc::new(Mutex::new(R::Instant::now())) }
    }

    pub(crate) fn now(&self) {
        *self.at.lock() = R::Instant::now();
    }

    pub(crate) fn within(&self, limit: Duration) -> bool {
        let at = *self.at.lock();
        R::Instant::now().saturating_duration_since(at) < limit
    }
}

impl<R: AsyncRuntime> Clone for Heard<R> {
    fn clone(&self) -> Self {
        Heard { at: self.at.clone() }
    }
}
