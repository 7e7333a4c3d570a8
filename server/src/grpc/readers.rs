//! The threads that read from the store for clients.
//!
//! A read that may take long runs beside the async workers, and nobody can stop it once it runs. So
//! no more of them run at a time than this, however many clients ask; the others wait in the order
//! in which they came, and one whose client goes away meanwhile never begins.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::errors::Error;

/// Reads at a time for each core: more than one, because some wait for the disk; few, because those
/// that do not would leave the async workers a small share of the cores.
const READS_PER_CORE: usize = 2;

/// Clones share the bound.
#[derive(Clone)]
pub(super) struct Readers(Arc<Semaphore>);

impl Readers {
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::at_most(READS_PER_CORE * cores)
    }

    fn at_most(reads_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(reads_max)))
    }

    /// Runs `read`, which blocks, when its turn has come. Dropped before that, it never runs.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(&self.0).acquire_owned().await;
        // The turn goes with the read, which may outlive whoever asked for it.
        let occupied = move || {
            let _turn = turn;
            read()
        };
        Ok(spawn_blocking(occupied).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_read_whose_client_goes_keeps_its_turn_and_those_behind_it_never_begin() {
        // Proves the bound: the read that runs is given up by its client and still counts, one that
        // waits behind it and is given up never runs, and the next one runs when the first ended.
        let readers = Readers::at_most(1);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (release, released) = mpsc::channel::<()>();
        let first = readers.clone();
        let running = tokio::spawn(async move {
            let read = move || {
                let _ = begun.send(());
                let _ = released.recv();
            };
            first.run(read).await
        });
        has_begun.await.unwrap();
        running.abort();
        running.await.unwrap_err();
        assert_eq!(readers.0.available_permits(), 0, "it still runs");

        let ran = Arc::new(AtomicUsize::new(0));
        let (behind, count) = (readers.clone(), ran.clone());
        let waiting =
            tokio::spawn(
                async move { behind.run(move || count.fetch_add(1, Ordering::Relaxed)).await },
            );
        tokio::task::yield_now().await;
        waiting.abort();
        waiting.await.unwrap_err();

        release.send(()).unwrap();
        let count = ran.clone();
        readers.run(move || count.fetch_add(10, Ordering::Relaxed)).await.unwrap();
        assert_eq!(ran.load(Ordering::Relaxed), 10);
    }
}
