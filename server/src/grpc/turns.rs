//! Turns at work that blocks or takes long, beside the async workers.
//!
//! Nobody can stop such work once it runs. So no more of one kind runs at a time than is good for
//! everyone else, however many clients ask; the others wait in the order in which they came, and
//! one whose client goes away meanwhile never begins. Its threads claim the processor less than the
//! workers do: a short call does not wait for a long one's time slice.

use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::errors::Error;

/// What the threads of turns add to their niceness: about a tenth of a worker's claim.
const NICE: i32 = 10;

/// The threads of all turns. Unlike those of the workers' runtime they do nothing else.
static THREADS: LazyLock<Runtime> = LazyLock::new(|| raft::threads("turn", NICE));

/// Runs `work` on a thread of turns, for whoever holds a turn.
pub(super) fn spawn(work: impl FnOnce() + Send + 'static) {
    drop(THREADS.spawn_blocking(work));
}

/// Clones share the bound.
#[derive(Clone)]
pub(super) struct Turns(Arc<Semaphore>);

/// Dropping it lets the next one begin.
pub(super) struct Turn(#[expect(dead_code, reason = "held, never looked at")] OwnedSemaphorePermit);

impl Turns {
    /// So many at a time for each core.
    pub(super) fn per_core(count: usize) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::at_most(count * cores)
    }

    pub(super) fn at_most(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Cancel safe.
    pub(super) async fn take(&self) -> Turn {
        let turn = Arc::clone(&self.0).acquire_owned().await;
        Turn(turn.expect("the semaphore of turns is never closed"))
    }

    /// Runs `work` when its turn has come. Dropped before that, it never runs.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = self.take().await;
        // The turn goes with the work, which may outlive whoever asked for it: a client that asks
        // and leaves at once would otherwise begin more of it than there are turns.
        let occupied = move || {
            let _turn = turn;
            work()
        };
        Ok(THREADS.spawn_blocking(occupied).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_whose_client_goes_keeps_its_turn_and_those_behind_it_never_begin() {
        // Proves the bound: the work that runs is given up by its client and still counts, one that
        // waits behind it and is given up never runs, and the next one runs when the first ended.
        let turns = Turns::at_most(1);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (release, released) = mpsc::channel::<()>();
        let first = turns.clone();
        let running = tokio::spawn(async move {
            let work = move || {
                let _ = begun.send(());
                let _ = released.recv();
            };
            first.run(work).await
        });
        has_begun.await.unwrap();
        running.abort();
        running.await.unwrap_err();
        assert_eq!(turns.0.available_permits(), 0, "it still runs");

        let ran = Arc::new(AtomicUsize::new(0));
        let (behind, count) = (turns.clone(), ran.clone());
        let waiting =
            tokio::spawn(
                async move { behind.run(move || count.fetch_add(1, Ordering::Relaxed)).await },
            );
        tokio::task::yield_now().await;
        waiting.abort();
        waiting.await.unwrap_err();

        release.send(()).unwrap();
        let count = ran.clone();
        turns.run(move || count.fetch_add(10, Ordering::Relaxed)).await.unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), 10);
    }
}
