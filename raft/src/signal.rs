//! A wake-up for one waiting task, without a runtime.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::task::AtomicWaker;

/// Many may raise it, one waits for it. Raised many times before it is looked at, it counts once.
#[derive(Default)]
pub(crate) struct Signal {
    raised: AtomicBool,
    closed: AtomicBool,
    waker: AtomicWaker,
}

impl Signal {
    pub(crate) fn raise(&self) {
        // The usual case, one apply after another, costs a load.
        if !self.raised.load(Ordering::Acquire) && !self.raised.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Ends every wait, now and later.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// True once it has been raised since the last wait; false once it is closed.
    pub(crate) async fn wait(&self) -> bool {
        poll_fn(|context| {
            self.waker.register(context.waker());
            if self.closed.load(Ordering::Acquire) {
                Poll::Ready(false)
            } else if self.raised.swap(false, Ordering::AcqRel) {
                Poll::Ready(true)
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn a_raise_before_the_wait_is_not_lost() {
        // Proves that raises are remembered, count once, and that closing ends the wait.
        let signal = Signal::default();
        assert_eq!(signal.wait().now_or_never(), None);
        signal.raise();
        signal.raise();
        assert_eq!(signal.wait().now_or_never(), Some(true));
        assert_eq!(signal.wait().now_or_never(), None);
        signal.close();
        assert_eq!(signal.wait().now_or_never(), Some(false));
    }
}
