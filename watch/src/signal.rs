//! "Something changed": one task waits, anybody tells.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::future::poll_fn;
use futures::task::AtomicWaker;

#[derive(Default)]
pub(crate) struct Signal {
    set: AtomicBool,
    waker: AtomicWaker,
}

impl Signal {
    pub(crate) fn set(&self) {
        self.set.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Waits until it was set since the last time. For one task only.
    pub(crate) async fn wait(&self) {
        poll_fn(|context| self.poll_wait(context)).await;
    }

    fn poll_wait(&self, context: &mut Context<'_>) -> Poll<()> {
        // First register, then look: a `set` between the two is not missed.
        self.waker.register(context.waker());
        if self.set.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Lets other tasks run once.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
