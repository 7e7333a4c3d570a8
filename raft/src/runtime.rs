//! What the consensus of a server runs on: tokio, and threads of its own for what blocks.
//!
//! Everything that blocks here is work behind the answers: writing to the engine, compacting it,
//! writing and reading snapshots. Its threads claim the processor less than those that answer, and
//! live on from one call to the next.

use std::io;
use std::sync::{LazyLock, Once};
use std::thread::available_parallelism;
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend};
use openraft_rt_tokio::TokioRuntime as Tokio;
use tokio::runtime::{Builder, Runtime as Threads};

/// What the threads behind add to their niceness: about half the claim of those that answer. With
/// less, one that is stopped while it holds the state's lock would hold up all of them.
const NICE: i32 = 3;
/// What the engine's add to that, since those threads start them: they hold nothing that others wait
/// for.
const NICE_ENGINE: i32 = 10;

static BEHIND: LazyLock<Threads> = LazyLock::new(|| threads("behind", NICE));

/// Threads for what blocks, which add `nice` to their niceness. Nothing is ever driven by this
/// runtime: it is its pool that is used.
///
/// # Panics
/// Never: a runtime without drivers asks nothing of the system.
pub fn threads(name: &str, nice: i32) -> Threads {
    let mut builder = Builder::new_current_thread();
    let built = builder.thread_name(name).on_thread_start(move || step_back(nice)).build();
    built.expect("a runtime without drivers asks nothing of the system")
}

/// The engine divides large writes among the threads of a pool that the whole process shares: half
/// as many as there are processors, with little claim to them.
pub(crate) fn ready_engine_threads() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let cores = available_parallelism().map_or(1, usize::from);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(cores.div_ceil(2))
            .thread_name(|number| format!("engine-{number}"))
            .start_handler(|_| step_back(NICE_ENGINE));
        if let Err(error) = pool.build_global() {
            tracing::debug!(%error, "the engine's threads are as somebody else made them");
        }
    });
}

/// Of the calling thread alone, as Linux has it.
fn step_back(nice: i32) {
    // One that may not still does its work.
    if let Err(error) = rustix::process::nice(nice) {
        tracing::debug!(%error, "a thread keeps its claim to the processor");
    }
}

/// The runtime of a server.
#[derive(Debug)]
pub struct Runtime(Tokio);

impl AsyncRuntime for Runtime {
    type JoinError = <Tokio as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Tokio as AsyncRuntime>::Sleep;
    type Instant = <Tokio as AsyncRuntime>::Instant;
    type TimeoutError = <Tokio as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Tokio as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <Tokio as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <Tokio as AsyncRuntime>::Mpsc;
    type Watch = <Tokio as AsyncRuntime>::Watch;
    type Oneshot = <Tokio as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        Tokio::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Tokio::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Tokio::sleep_until(deadline)
    }

    fn timeout<R, F>(duration: Duration, future: F) -> Self::Timeout<R, F>
    where
        F: Future<Output = R> + OptionalSend,
    {
        Tokio::timeout(duration, future)
    }

    fn timeout_at<R, F>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F>
    where
        F: Future<Output = R> + OptionalSend,
    {
        Tokio::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Tokio::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Tokio::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(Tokio::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    /// Runs even if nobody waits for it.
    fn spawn_blocking<F, T>(f: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let running = BEHIND.spawn_blocking(f);
        async move { running.await.map_err(io::Error::other) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Name, id and niceness of the calling thread: proc_pid_stat(5).
    fn own_thread() -> (String, u32, i32) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (head, rest) = stat.rsplit_once(") ").unwrap();
        let (id, name) = head.split_once(" (").unwrap();
        let nice = rest.split(' ').nth(16).unwrap();
        (name.to_owned(), id.parse().unwrap(), nice.parse().unwrap())
    }

    #[tokio::test]
    async fn what_blocks_has_threads_that_step_back_and_stay() {
        // Proves that blocking calls run on threads of that name and claim, and that the caller's
        // claim stays; that calls one after the other need no thread each; and that one which nobody
        // waits for runs all the same.
        let (_, _, before) = own_thread();
        let mut ids = BTreeSet::new();
        for _ in 0..20 {
            let (name, id, nice) = Runtime::spawn_blocking(own_thread).await.unwrap();
            assert_eq!((name.as_str(), nice), ("behind", before + NICE));
            ids.insert(id);
        }
        assert!(ids.len() < 20, "{ids:?}");
        assert_eq!(own_thread().2, before);
        let (tx, rx) = std::sync::mpsc::channel();
        drop(Runtime::spawn_blocking(move || tx.send(()).unwrap()));
        rx.recv().unwrap();
    }
}
