//! Many watchers on one key space, and writes that each concern some of them.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use api::etcdserverpb::PutRequest;
use api::etcdserverpb::kv_client::KvClient;
use tokio::task::JoinSet;

use super::client::{Outcome, Target, Watching, create};

const STREAMS: usize = 100;
const WATCHERS: usize = 100_000;
/// Each is watched by as many watchers as there are streams.
const KEYS: usize = WATCHERS / STREAMS;
/// Between two writes.
const PAUSE: Duration = Duration::from_millis(10);
/// For the last events, after the last write.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn apply(target: &Target) -> Result<Outcome, Box<dyn Error>> {
    let keys = target.share(KEYS);
    let (mut outcome, received) = (Outcome::default(), Arc::new(AtomicUsize::new(0)));
    let (mut watchers, mut readers) = (0, JoinSet::new());
    for channel in target.connections(STREAMS)? {
        let requests = (0..keys).map(|key| create(&format!("watched/{key:04}"), true)).collect();
        let opened = Watching::open(&channel, requests).await;
        if let Some(answers) = outcome.take(opened) {
            watchers += keys;
            readers.spawn(read(answers, received.clone()));
        }
    }
    let writes = write(target, keys, &mut outcome).await?;
    let expected = writes * readers.len();
    let end = Instant::now() + PATIENCE;
    while received.load(Ordering::Relaxed) < expected && Instant::now() < end {
        tokio::time::sleep(PAUSE).await;
    }
    let received = received.load(Ordering::Relaxed);
    outcome.reached =
        format!("{watchers} watchers, {received} of {expected} events of {writes} writes");
    Ok(outcome)
}

async fn write(
    target: &Target,
    keys: usize,
    outcome: &mut Outcome,
) -> Result<usize, Box<dyn Error>> {
    let channel = target.connections(1)?.remove(0);
    let mut kv = KvClient::new(channel);
    let (mut writes, end) = (0, Instant::now() + target.time);
    while Instant::now() < end {
        let put = PutRequest {
            key: format!("watched/{:04}", writes % keys).into(),
            value: vec![b'w'; 256].into(),
            ..PutRequest::default()
        };
        writes += usize::from(outcome.take(kv.put(put).await).is_some());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(writes)
}

async fn read(mut answers: Watching, received: Arc<AtomicUsize>) {
    while let Ok(answer) = answers.next().await {
        received.fetch_add(answer.events.len(), Ordering::Relaxed);
    }
}
