//! Keeps points that are set from doing anything while an answer is on its way.
//!
//! Whoever sets `panic` at a busy point must hear that it is set before the process is gone.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

#[derive(Clone, Default)]
pub(super) struct Gate {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<usize>,
    free: Condvar,
}

/// Nobody passes while one of these lives.
pub(super) struct Held {
    shared: Arc<Shared>,
}

impl Gate {
    pub(super) fn hold(&self) -> Held {
        *self.shared.answers.lock() += 1;
        Held { shared: self.shared.clone() }
    }

    /// Waits until it is not held.
    pub(super) fn pass(&self) {
        let mut answers = self.shared.answers.lock();
        self.shared.free.wait_while(&mut answers, |answers| *answers > 0);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.shared.answers.lock() -= 1;
        self.shared.free.notify_all();
    }
}
