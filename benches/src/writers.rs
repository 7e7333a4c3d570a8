//! Clients that put, each one request at a time, and a record of how every request went.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api::etcdserverpb::PutRequest;
use api::etcdserverpb::kv_client::KvClient;
use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use crate::cluster::Cluster;
use crate::load;

/// How many clients share a connection to each member.
const CLIENTS_PER_CONNECTION: usize = 8;
/// After a request that failed at once.
const RETRY: Duration = Duration::from_millis(5);
/// Keys that each client writes, in turn.
const KEYS_PER_CLIENT: u64 = 1000;

/// Which member a client asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Asks {
    /// Always the one that it began with.
    One,
    /// The next one after a failure, as a client that retries does.
    NextAfterFailure,
    /// One after the other, as etcd's own client does.
    InTurn,
}

/// How clients behave.
#[derive(Debug, Clone)]
pub(crate) struct Habit {
    /// How long a client waits for an answer.
    pub(crate) attempt_max: Duration,
    /// What a client waits between an answer and its next request.
    pub(crate) pause: Duration,
    pub(crate) asks: Asks,
    pub(crate) value_bytes: usize,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) sent: Instant,
    pub(crate) answered: Instant,
    /// The member that was asked.
    pub(crate) place: usize,
    /// The error is what the client sees: code and text.
    pub(crate) outcome: Result<(), String>,
}

impl Write {
    pub(crate) fn acknowledged(&self) -> bool {
        self.outcome.is_ok()
    }
}

/// Clients at work; they end when this is dropped.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
    writes: UnboundedReceiver<Write>,
    seen: Vec<Write>,
}

impl Writers {
    /// Starts `clients` clients, which begin at the members at `places` in turn.
    pub(crate) fn start(
        cluster: &Cluster,
        places: &[usize],
        clients: usize,
        habit: &Habit,
    ) -> Result<Self, tonic::transport::Error> {
        let (stop, (report, writes)) = (Arc::new(AtomicBool::new(false)), unbounded_channel());
        let mut writers = Self { stop, clients: JoinSet::new(), writes, seen: Vec::new() };
        let mut channels = Vec::new();
        for number in 0..clients {
            // Those that share connections begin at different members.
            if number % (CLIENTS_PER_CONNECTION * places.len()) == 0 {
                channels = connections(cluster, places)?;
            }
            let client = Client {
                number: number as u64,
                turn: number,
                channels: channels.clone(),
                habit: habit.clone(),
                value: load::value(number as u64, habit.value_bytes),
                stop: writers.stop.clone(),
                report: report.clone(),
            };
            writers.clients.spawn(client.work());
        }
        Ok(writers)
    }

    /// Waits for an answer such as `wanted`, among those that nobody has waited for yet.
    ///
    /// # Errors
    /// If none comes within `patience`.
    pub(crate) async fn until(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&Write) -> bool,
    ) -> Result<Instant, String> {
        let found = async {
            while let Some(write) = self.writes.recv().await {
                let answered = wanted(&write).then_some(write.answered);
                self.seen.push(write);
                if answered.is_some() {
                    return answered;
                }
            }
            None
        };
        let found = tokio::time::timeout(patience, found).await.ok().flatten();
        found.ok_or_else(|| {
            format!("no such write within {patience:?}, last: {:?}", self.seen.last())
        })
    }

    /// Stops the clients, waits for the answers to what is under way, and returns all requests
    /// in the order of their answers.
    pub(crate) async fn finish(mut self) -> Vec<Write> {
        self.stop.store(true, Ordering::Release);
        while self.clients.join_next().await.is_some() {}
        while let Ok(write) = self.writes.try_recv() {
            self.seen.push(write);
        }
        self.seen.sort_by_key(|write| write.answered);
        self.seen
    }
}

/// New connections to the members at `places`.
fn connections(
    cluster: &Cluster,
    places: &[usize],
) -> Result<Vec<(usize, Channel)>, tonic::transport::Error> {
    let connect = |&place: &usize| {
        let url = cluster.members[place].client_url.clone();
        Ok((place, Endpoint::from_shared(url)?.connect_lazy()))
    };
    places.iter().map(connect).collect()
}

struct Client {
    number: u64,
    /// Which of `channels` is asked.
    turn: usize,
    channels: Vec<(usize, Channel)>,
    habit: Habit,
    value: Bytes,
    stop: Arc<AtomicBool>,
    report: UnboundedSender<Write>,
}

impl Client {
    async fn work(mut self) {
        let mut count = 0;
        while !self.stop.load(Ordering::Acquire) {
            let key = format!("w{}/{}", self.number, count % KEYS_PER_CLIENT);
            count += 1;
            let write = self.put(key).await;
            let acknowledged = write.acknowledged();
            if self.report.send(write).is_err() {
                return;
            }
            self.turn += usize::from(match self.habit.asks {
                Asks::One => false,
                Asks::NextAfterFailure => !acknowledged,
                Asks::InTurn => true,
            });
            self.pause(if acknowledged { self.habit.pause } else { RETRY }).await;
        }
    }

    async fn pause(&self, time: Duration) {
        // Even the shortest sleep takes a millisecond.
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
    }

    async fn put(&self, key: String) -> Write {
        let (place, channel) = &self.channels[self.turn % self.channels.len()];
        let put = PutRequest { key: key.into(), value: self.value.clone(), ..Default::default() };
        let mut client = KvClient::new(channel.clone());
        let sent = Instant::now();
        let answer = tokio::time::timeout(self.habit.attempt_max, client.put(put)).await;
        let outcome = match answer {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(format!("{:?}: {}", status.code(), status.message())),
            Err(_) => Err(format!("no answer within {:?}", self.habit.attempt_max)),
        };
        Write { sent, answered: Instant::now(), place: *place, outcome }
    }
}

/// The longest time without an acknowledged write between `from` and `to`.
pub(crate) fn longest_pause(writes: &[Write], from: Instant, to: Instant) -> Duration {
    let acknowledged = writes.iter().filter(|write| write.acknowledged()).map(|w| w.answered);
    let within = acknowledged.filter(|at| (from..=to).contains(at));
    let moments: Vec<Instant> = [from].into_iter().chain(within).chain([to]).collect();
    let pauses = moments.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    pauses.max().unwrap_or_default()
}
