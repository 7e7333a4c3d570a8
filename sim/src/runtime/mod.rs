//! Time, tasks and processes of a simulated world.
//!
//! openraft's deterministic runtime polls the tasks and moves the clock; this room divides the tasks
//! among processes that can be killed, stopped for a while, and whose clocks go wrong. Whatever a
//! task spawns belongs to its process. Nothing here may look at the machine's clock or throw a coin
//! that does not come from the seed.

mod clock;
mod process;

use std::fmt;
use std::io;
use std::time::Duration;

use openraft_rt::{AsyncRuntime, OptionalSend};
use openraft_rt_sim::SimRuntime;

pub(crate) use clock::{Clock, Moment, world_ns};
pub(crate) use process::Process;

/// The longest that a blocking call takes, in microseconds.
const BLOCKING_US_MAX: u64 = 2_000;

/// The runtime of everything in the simulated world.
pub(crate) struct Simulated(SimRuntime);

impl Simulated {
    /// A world at the beginning of its time.
    pub(crate) fn new(seed: u64) -> Simulated {
        Simulated(SimRuntime::with_seed(seed))
    }
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulated")
    }
}

impl AsyncRuntime for Simulated {
    type JoinError = <SimRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <SimRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <SimRuntime as AsyncRuntime>::Sleep;
    type Instant = Moment;
    type TimeoutError = <SimRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <SimRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <SimRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <SimRuntime as AsyncRuntime>::Mpsc;
    type Watch = <SimRuntime as AsyncRuntime>::Watch;
    type Oneshot = <SimRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <SimRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match Process::current() {
            Some(process) => process.spawn(future),
            None => SimRuntime::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        SimRuntime::sleep(clock::to_world(duration))
    }

    fn sleep_until(deadline: Moment) -> Self::Sleep {
        let left = openraft_rt::Instant::saturating_duration_since(&deadline, clock::now());
        Self::sleep(left)
    }

    fn timeout<R, F>(duration: Duration, future: F) -> Self::Timeout<R, F>
    where
        F: Future<Output = R> + OptionalSend,
    {
        SimRuntime::timeout(clock::to_world(duration), future)
    }

    fn timeout_at<R, F>(deadline: Moment, future: F) -> Self::Timeout<R, F>
    where
        F: Future<Output = R> + OptionalSend,
    {
        let left = openraft_rt::Instant::saturating_duration_since(&deadline, clock::now());
        Self::timeout(left, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        SimRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        SimRuntime::thread_rng()
    }

    fn new(_threads: usize) -> Self {
        Simulated::new(0)
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    /// Takes a moment, as a thread of a pool would; like it, it runs even if nobody waits, unless
    /// its process dies before.
    fn spawn_blocking<F, T>(f: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // Calls take different moments; the time itself is as good as a coin.
        let pause = Duration::from_micros(world_ns() / 1000 % BLOCKING_US_MAX);
        let call = Self::spawn(async move {
            Self::sleep(pause).await;
            f()
        });
        async move { call.await.map_err(io::Error::other) }
    }
}
