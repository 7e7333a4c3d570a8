//! The read barrier: after it, this node's state shows everything acknowledged before the call.
//!
//! Reads that wait at the same moment share one round of ReadIndex. A call must never be answered
//! by a round that began before it: such a round may have missed a write that the caller knows of.

use std::sync::Arc;

use futures::channel::oneshot;
use openraft::{AsyncRuntime, Raft, ReadPolicy};
use parking_lot::Mutex;

use crate::behind::Behind;
use crate::error::Error;
use crate::state_machine::StateMachine;
use crate::types::Types;

/// Clones share the rounds.
pub(crate) struct Barrier<R: AsyncRuntime> {
    raft: Raft<Types<R>, StateMachine<R>>,
    behind: Arc<Behind>,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    /// Served by the next round.
    waiting: Vec<oneshot::Sender<Result<(), Error>>>,
    /// A task makes rounds until nobody waits.
    running: bool,
}

impl<R: AsyncRuntime> Barrier<R> {
    pub(crate) fn new(raft: Raft<Types<R>, StateMachine<R>>, behind: Arc<Behind>) -> Barrier<R> {
        Barrier { raft, behind, queue: Arc::default() }
    }

    /// Cancel safe.
    pub(crate) async fn pass(&self) -> Result<(), Error> {
        let (tx, rx) = oneshot::channel();
        let start = {
            let mut queue = self.queue.lock();
            queue.waiting.push(tx);
            !std::mem::replace(&mut queue.running, true)
        };
        if start {
            // A task of its own: callers come and go.
            drop(R::spawn(self.clone().rounds()));
        }
        rx.await.unwrap_or(Err(Error::Stopped))
    }

    async fn rounds(self) {
        loop {
            let waiting = {
                let mut queue = self.queue.lock();
                if queue.waiting.is_empty() {
                    queue.running = false;
                    return;
                }
                std::mem::take(&mut queue.waiting)
            };
            let outcome = self.round().await;
            for caller in waiting {
                // A caller that has gone needs no answer.
                let _ = caller.send(outcome.clone());
            }
        }
    }

    async fn round(&self) -> Result<(), Error> {
        let linearizer =
            self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.map_err(Error::of_read)?;
        // The store is ahead of what openraft has heard of it.
        if self.behind.reader().position().index >= linearizer.read_log_id().index() {
            return Ok(());
        }
        let ready = linearizer.await_ready(&self.raft).await;
        ready.map(|_| ()).map_err(|fatal| Error::of_fatal(&fatal))
    }
}

impl<R: AsyncRuntime> Clone for Barrier<R> {
    fn clone(&self) -> Self {
        Barrier { raft: self.raft.clone(), behind: self.behind.clone(), queue: self.queue.clone() }
    }
}
