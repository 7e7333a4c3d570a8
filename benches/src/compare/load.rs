//! How a server is asked, and what is recorded of it.

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Clients that share a connection, as etcd's own benchmark has it.
const CLIENTS_PER_CONNECTION: usize = 10;
/// Connections are opened and caches filled in it; it is not counted.
const WARM_UP: Duration = Duration::from_secs(1);
/// Whoever waits longer is counted as having waited so long.
const LATENCY_US_MAX: u64 = 60_000_000;
/// Three digits of every latency.
const DIGITS: u8 = 3;

pub(super) type Latencies = Histogram<u64>;

/// A server to be asked, and for how long.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) url: String,
    pub(super) process: u32,
    pub(super) time: Duration,
    pub(super) divide_by: u64,
}

/// What was seen in the counted time.
pub(super) struct Outcome {
    /// Answers, or events, or whatever the workload counts.
    pub(super) count: u64,
    pub(super) failed: u64,
    pub(super) time: Duration,
    pub(super) latencies: Latencies,
    /// Processor time of the server, of all its threads.
    pub(super) cpu: Duration,
}

impl Bench {
    /// The part of a number that was asked for.
    pub(super) fn share(&self, whole: u64) -> u64 {
        (whole / self.divide_by).max(1)
    }

    pub(super) fn connections(
        &self,
        count: usize,
    ) -> Result<Vec<Channel>, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(self.url.clone())?
            .initial_stream_window_size(Some(1 << 20))
            .initial_connection_window_size(Some(8 << 20));
        Ok((0..count).map(|_| endpoint.connect_lazy()).collect())
    }

    /// One connection.
    pub(super) fn connection(&self) -> Result<Channel, tonic::transport::Error> {
        Ok(Endpoint::from_shared(self.url.clone())?.connect_lazy())
    }

    /// Connections for `clients` clients; the client's number modulo their count is its own.
    pub(super) fn shared_connections(
        &self,
        clients: usize,
    ) -> Result<Vec<Channel>, tonic::transport::Error> {
        self.connections(clients.div_ceil(CLIENTS_PER_CONNECTION))
    }

    /// Begins a measurement that the workload ends itself.
    pub(super) fn begin(&self) -> Result<Running<'_>, Box<dyn Error>> {
        Ok(Running { bench: self, begin: Instant::now(), cpu: cpu(self.process)? })
    }

    /// Closed loop: each of `clients` asks, waits for the answer, and asks again. `call` gets the
    /// client's number and how many it has made.
    pub(super) async fn closed<F, R>(
        &self,
        clients: usize,
        call: F,
    ) -> Result<Outcome, Box<dyn Error>>
    where
        F: Fn(usize, u64) -> R + Send + Sync + 'static,
        R: Future<Output = Result<u64, Status>> + Send,
    {
        let call = Arc::new(call);
        let begin = Instant::now() + WARM_UP;
        let end = begin + self.time;
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let call = call.clone();
            tasks.spawn(async move {
                let mut seen = Seen::new();
                for count in 0.. {
                    let sent = Instant::now();
                    if sent >= end {
                        break;
                    }
                    let answer = call(client, count).await;
                    if sent >= begin {
                        seen.take(answer.ok(), sent.elapsed());
                    }
                }
                seen
            });
        }
        tokio::time::sleep_until(begin.into()).await;
        let running = self.begin()?;
        tokio::time::sleep_until(end.into()).await;
        let spent = running.spent()?;
        Ok(Seen::gather(tasks).await?.outcome(spent))
    }
}

/// A measurement that has begun.
pub(super) struct Running<'b> {
    bench: &'b Bench,
    begin: Instant,
    cpu: Duration,
}

/// Time that has passed, and what the server had of it.
#[derive(Clone, Copy)]
pub(super) struct Spent {
    time: Duration,
    cpu: Duration,
}

impl Running<'_> {
    pub(super) fn spent(&self) -> Result<Spent, Box<dyn Error>> {
        Ok(Spent { time: self.begin.elapsed(), cpu: cpu(self.bench.process)? - self.cpu })
    }
}

/// What one client saw.
pub(super) struct Seen {
    count: u64,
    failed: u64,
    latencies: Latencies,
}

impl Seen {
    pub(super) fn new() -> Self {
        let latencies = Latencies::new_with_bounds(1, LATENCY_US_MAX, DIGITS);
        Self { count: 0, failed: 0, latencies: latencies.expect("the bounds are constants") }
    }

    /// `answer`: how many answers, events or the like it counts for; `None`: it failed.
    pub(super) fn take(&mut self, answer: Option<u64>, latency: Duration) {
        let Some(count) = answer else {
            self.failed += 1;
            return;
        };
        self.count += count;
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(us.max(1));
    }

    /// What came beside answers that are timed.
    pub(super) fn count(&mut self, more: u64) {
        self.count += more;
    }

    pub(super) async fn gather(mut tasks: JoinSet<Self>) -> Result<Self, Box<dyn Error>> {
        let mut all = Self::new();
        while let Some(seen) = tasks.join_next().await {
            all.add(&seen?);
        }
        Ok(all)
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.failed += other.failed;
        self.latencies.add(&other.latencies).expect("all have the same bounds");
    }

    pub(super) fn outcome(self, spent: Spent) -> Outcome {
        let Self { count, failed, latencies } = self;
        Outcome { count, failed, latencies, time: spent.time, cpu: spent.cpu }
    }
}

/// Processor time of a process, in user and kernel mode, of all its threads that are and were.
fn cpu(process: u32) -> Result<Duration, Box<dyn Error>> {
    const USER: usize = 11;
    const KERNEL: usize = 12;
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name may hold anything, so counting begins behind its bracket (proc(5)).
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |place: usize| -> Result<u64, Box<dyn Error>> {
        Ok(fields.get(place).ok_or("a short /proc/PID/stat")?.parse()?)
    };
    let ticks_per_s = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs(field(USER)? + field(KERNEL)?) / u32::try_from(ticks_per_s)?)
}
