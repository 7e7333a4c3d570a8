//! Watchers: many of one key, one of many events, and those that come late.

use std::error::Error;
use std::time::{Duration, Instant};

use api::etcdserverpb::watch_client::WatchClient;
use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::super::load::{Bench, Outcome, Seen};
use super::puts;
use crate::load;

const WATCHERS: u64 = 10_000;
const WATCHERS_PER_STREAM: u64 = 100;
const STREAMS_PER_CONNECTION: u64 = 10;
const EVENTS_PER_S: u64 = 1000;
const REVISIONS: u64 = 1000;
const VALUE_BYTES: usize = 32;
/// For an event that does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes one key until the time is over, and waits for each of its events at every watcher before
/// the next. Counted are events; a latency is from sending the put to the last watcher's event.
pub(super) async fn one_key(bench: &Bench) -> Result<Outcome, Box<dyn Error>> {
    let watchers = bench.share(WATCHERS);
    let streams = watchers.div_ceil(WATCHERS_PER_STREAM);
    let connections =
        bench.connections(usize::try_from(streams.div_ceil(STREAMS_PER_CONNECTION))?)?;
    let mut watching = Vec::new();
    let (told, mut tellings) = mpsc::channel::<u64>(1024);
    let mut tasks = JoinSet::new();
    for stream in 0..streams {
        let count = WATCHERS_PER_STREAM.min(watchers - stream * WATCHERS_PER_STREAM);
        let channel = connections[usize::try_from(stream)? % connections.len()].clone();
        let mut opened = open(channel, (0..count).map(|_| create("watched", 0)).collect()).await?;
        let told = told.clone();
        watching.push(opened.requests);
        tasks.spawn(async move {
            while let Ok(Some(answer)) = opened.answers.message().await {
                if told.send(answer.events.len() as u64).await.is_err() {
                    return;
                }
            }
        });
    }
    let (writer, value) = (bench.connection()?, load::value(1, VALUE_BYTES));
    let (running, end) = (bench.begin()?, Instant::now() + bench.time);
    let mut seen = Seen::new();
    while Instant::now() < end {
        let begin = Instant::now();
        puts::put(writer.clone(), "watched".into(), value.clone()).await?;
        let all = async {
            let mut left = watchers;
            while left > 0 {
                left = left.saturating_sub(tellings.recv().await.unwrap_or(left));
            }
        };
        tokio::time::timeout(PATIENCE, all).await?;
        seen.take(Some(watchers), begin.elapsed());
    }
    Ok(seen.outcome(running.spent()?))
}

/// Puts at a fixed rate, whatever the answers; one watcher of their prefix.
pub(super) async fn latency(bench: &Bench) -> Result<Outcome, Box<dyn Error>> {
    let events = EVENTS_PER_S * bench.time.as_secs();
    let mut watching = open(bench.connection()?, vec![create("event/", 0)]).await?;
    let (writer, begin) = (bench.connection()?, Instant::now());
    let due = move |number: u64| {
        begin
            + Duration::from_micros(1_000_000 / EVENTS_PER_S)
                * u32::try_from(number).unwrap_or(u32::MAX)
    };
    let running = bench.begin()?;
    let writing = tokio::spawn(async move {
        let mut puts = JoinSet::new();
        for number in 0..events {
            tokio::time::sleep_until(due(number).into()).await;
            let (key, value) = (format!("event/{number}").into(), load::value(1, VALUE_BYTES));
            puts.spawn(puts::put(writer.clone(), key, value));
        }
        puts.join_all().await
    });
    let mut seen = Seen::new();
    let mut left = events;
    while left > 0 {
        let answer = tokio::time::timeout(PATIENCE, watching.next()).await??;
        for event in &answer.events {
            let key = event.kv.as_ref().map(|kv| kv.key.clone()).unwrap_or_default();
            let number = std::str::from_utf8(&key)?.trim_start_matches("event/").parse()?;
            seen.take(Some(1), due(number).elapsed());
            left -= 1;
        }
    }
    let outcome = seen.outcome(running.spent()?);
    for put in writing.await? {
        put?;
    }
    Ok(outcome)
}

/// Each client watches from the first revision on, until it has the last, and begins again. Counted
/// are events.
pub(super) async fn from_the_first(
    bench: &Bench,
    clients: usize,
) -> Result<Outcome, Box<dyn Error>> {
    let filler = bench.connection()?;
    for number in 0..REVISIONS {
        let key = format!("event/{number}").into();
        puts::put(filler.clone(), key, load::value(number, VALUE_BYTES)).await?;
    }
    let connections = bench.connections(clients)?;
    bench.closed(clients, move |client, _| all_events(connections[client].clone())).await
}

/// How many there were.
async fn all_events(channel: Channel) -> Result<u64, Status> {
    let mut watching = open(channel, vec![create("event/", 1)]).await?;
    let mut events = 0;
    while events < REVISIONS {
        events += watching.next().await?.events.len() as u64;
    }
    Ok(events)
}

/// A stream of watches, open as long as `requests` is held.
pub(super) struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Watching {
    pub(super) async fn next(&mut self) -> Result<WatchResponse, Status> {
        self.answers.message().await?.ok_or_else(|| Status::unavailable("the stream ended"))
    }
}

/// Returns when all watches are there.
pub(super) async fn open(
    channel: Channel,
    requests: Vec<WatchRequest>,
) -> Result<Watching, Status> {
    let mut left = requests.len();
    let (held, asked) = mpsc::channel(left.max(1));
    for request in requests {
        held.try_send(request).map_err(|_| Status::internal("no room for a request"))?;
    }
    let mut client = WatchClient::new(channel);
    let answers = client.watch(ReceiverStream::new(asked)).await?.into_inner();
    let mut watching = Watching { requests: held, answers };
    while left > 0 {
        left -= usize::from(watching.next().await?.created);
    }
    Ok(watching)
}

/// Everything that begins with `prefix`, from a revision on (0: from now on).
pub(super) fn create(prefix: &'static str, start_revision: i64) -> WatchRequest {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        // No prefix here ends with the highest byte.
        *last += 1;
    }
    let key = Bytes::from_static(prefix.as_bytes());
    let create =
        WatchCreateRequest { key, range_end: end.into(), start_revision, ..Default::default() };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}
