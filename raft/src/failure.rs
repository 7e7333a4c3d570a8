//! The first failure that the node cannot go on after.

use std::sync::OnceLock;

use futures::channel::oneshot;
use parking_lot::Mutex;

/// Set at most once; whoever waits is told.
#[derive(Default)]
pub(crate) struct Failure {
    message: OnceLock<String>,
    waiting: Mutex<Vec<oneshot::Sender<()>>>,
}

impl Failure {
    /// Only the first message counts: later failures follow from it.
    pub(crate) fn set(&self, message: String) {
        if self.message.set(message).is_ok() {
            tracing::error!(message = self.message.get(), "the node cannot go on");
        }
        // Dropping the senders wakes their receivers.
        self.waiting.lock().clear();
    }

    pub(crate) fn get(&self) -> Option<&str> {
        self.message.get().map(String::as_str)
    }

    /// Resolves with the message. Cancel safe.
    pub(crate) async fn wait(&self) -> String {
        loop {
            let told = {
                let mut waiting = self.waiting.lock();
                if let Some(message) = self.message.get() {
                    return message.clone();
                }
                waiting.retain(|waiting| !waiting.is_canceled());
                let (tx, rx) = oneshot::channel();
                waiting.push(tx);
                rx
            };
            // Cancelled is how it is told.
            let _ = told.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn the_first_failure_is_told_to_everyone() {
        // Proves that waits before and after the failure get the first message.
        let failure = Failure::default();
        let mut early = Box::pin(failure.wait());
        assert_eq!((&mut early).now_or_never(), None);
        failure.set("disk".into());
        failure.set("consequence".into());
        assert_eq!(early.now_or_never().as_deref(), Some("disk"));
        assert_eq!(failure.wait().now_or_never().as_deref(), Some("disk"));
    }
}
