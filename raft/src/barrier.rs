//! The read barrier: after it, this node's state shows everything acknowledged before the call.
//!
//! Reads that wait at the same moment share one round of ReadIndex. A call must never be answered
//! by a round that began before it: such a round may have missed a write that the caller knows of.

use std::sync::Arc;

use futures::channel::oneshot;
use futures::future::BoxFuture;
use openraft::AsyncRuntime;
use parking_lot::Mutex;

use crate::error::Error;
use crate::read_index::ReadIndex;
use crate::sole::Sole;

/// One round, by which everyone who waited when it began is answered.
type Round = Arc<dyn Fn() -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

/// Clones share the rounds.
#[derive(Clone)]
pub(crate) struct Barrier {
    sole: Sole,
    round: Round,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    /// Served by the next round.
    waiting: Vec<oneshot::Sender<Result<(), Error>>>,
    /// A task makes rounds until nobody waits.
    running: bool,
}

impl Barrier {
    /// A barrier whose rounds are Raft's ReadIndex.
    pub(crate) fn new<R: AsyncRuntime>(read_index: ReadIndex<R>) -> Barrier {
        let sole = read_index.sole.clone();
        let round = move || -> BoxFuture<'static, _> {
            let read_index = read_index.clone();
            Box::pin(async move { read_index.round().await })
        };
        Barrier::over(sole, Arc::new(round))
    }

    fn over(sole: Sole, round: Round) -> Barrier {
        Barrier { sole, round, queue: Arc::default() }
    }

    /// Cancel safe.
    pub(crate) async fn pass<R: AsyncRuntime>(&self) -> Result<(), Error> {
        if self.sole.is_settled() {
            return Ok(());
        }
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
        while let Some(waiting) = self.next() {
            let outcome = (self.round)().await;
            for caller in waiting {
                // A caller that has gone needs no answer.
                let _ = caller.send(outcome.clone());
            }
        }
    }

    /// Everyone who waits now; `None` ends the rounds.
    fn next(&self) -> Option<Vec<oneshot::Sender<Result<(), Error>>>> {
        let mut queue = self.queue.lock();
        queue.running = !queue.waiting.is_empty();
        queue.running.then(|| std::mem::take(&mut queue.waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use openraft_rt_tokio::TokioRuntime;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn callers_share_the_next_round_and_never_the_current_one() {
        // Proves that calls during a round wait for the one after it, and that they share it.
        let begun = Arc::new(AtomicUsize::new(0));
        let (gate, gates) = (Arc::new(Mutex::new(Vec::new())), begun.clone());
        let gate_of_round = gate.clone();
        let round = move || {
            gates.fetch_add(1, Ordering::SeqCst);
            let (tx, rx) = oneshot::channel::<()>();
            gate_of_round.lock().push(tx);
            rx.map(|_| Ok(())).boxed()
        };
        let barrier = Barrier::over(Sole::new(1), Arc::new(round));
        let pass = || Box::pin(barrier.pass::<TokioRuntime>());

        let mut first = pass();
        assert!((&mut first).now_or_never().is_none());
        tokio::task::yield_now().await;
        let mut later: Vec<_> = (0..100).map(|_| pass()).collect();
        assert!(later.iter_mut().all(|call| call.now_or_never().is_none()));

        gate.lock().remove(0).send(()).unwrap();
        first.await.unwrap();
        tokio::task::yield_now().await;
        assert!(later.iter_mut().all(|call| call.now_or_never().is_none()), "not their round");
        gate.lock().remove(0).send(()).unwrap();
        for call in later {
            call.await.unwrap();
        }
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }
}
