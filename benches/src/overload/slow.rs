//! Watchers that never read, while more is written than any stream could hold. Afterwards one of
//! them reads on: it has to get every event, or be told that it cannot.

use std::error::Error;
use std::time::Duration;

use api::etcdserverpb::PutRequest;
use api::etcdserverpb::kv_client::KvClient;
use futures::{StreamExt, stream};
use tonic::Status;

use super::client::{Outcome, Target, Watching, create};
use crate::load;

const WATCHERS: usize = 500;
const EVENT_BYTES: usize = 64 << 10;
const WRITTEN_BYTES: usize = 200 << 20;
const WRITES_AT_ONCE: usize = 8;
/// For one answer to the watcher that reads on.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn apply(target: &Target) -> Result<Outcome, Box<dyn Error>> {
    // Streams of one connection share what it lets through, so that one which reads would wait for
    // those which do not: each has its own.
    let (mut outcome, mut open) = (Outcome::default(), Vec::new());
    for channel in target.narrow_connections(target.share(WATCHERS))? {
        let opened = Watching::open(&channel, vec![create("slow/", false)]).await;
        open.extend(outcome.take(opened));
    }
    let watchers = open.len();
    let writes = target.share(WRITTEN_BYTES) / EVENT_BYTES;
    write(target, writes, &mut outcome).await?;
    let last = open.pop().ok_or("no watcher could be opened")?;
    let end = read_on(last, writes).await?;
    outcome.reached =
        format!("{watchers} watchers that do not read {writes} events; one that reads on: {end}");
    Ok(outcome)
}

async fn write(
    target: &Target,
    writes: usize,
    outcome: &mut Outcome,
) -> Result<(), Box<dyn Error>> {
    let channel = target.connections(1)?.remove(0);
    let puts = (0..writes).map(|number| {
        let mut kv = KvClient::new(channel.clone());
        let put = PutRequest {
            key: format!("slow/{number:06}").into(),
            value: load::value(number as u64, EVENT_BYTES),
            ..PutRequest::default()
        };
        async move { kv.put(put).await }
    });
    let mut answers = stream::iter(puts).buffer_unordered(WRITES_AT_ONCE);
    while let Some(answer) = answers.next().await {
        outcome.take(answer);
    }
    Ok(())
}

/// What it was given in the end.
async fn read_on(mut answers: Watching, writes: usize) -> Result<String, Box<dyn Error>> {
    let (mut events, mut revision) = (0, 0);
    while events < writes {
        let silent = |_| Status::deadline_exceeded(format!("silence after {events} events"));
        let answer = tokio::time::timeout(PATIENCE, answers.next()).await.map_err(silent)??;
        if answer.canceled {
            return Ok(format!(
                "{events} events, then cancelled with compact_revision {}",
                answer.compact_revision
            ));
        }
        for event in &answer.events {
            let next = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            if next <= revision {
                return Err(format!("revision {next} came after {revision}").into());
            }
            revision = next;
        }
        events += answer.events.len();
    }
    Ok("every event".to_owned())
}
