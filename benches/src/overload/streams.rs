//! Many streams over some connections, all open and idle.

use std::error::Error;

use futures::{StreamExt, stream};

use super::client::{Outcome, Target, Watching, create};

const CONNECTIONS: usize = 200;
const STREAMS: usize = 20_000;
/// Streams that are being opened at a time.
const AT_ONCE: usize = 256;

pub(super) async fn apply(target: &Target) -> Result<Outcome, Box<dyn Error>> {
    let connections = target.connections(CONNECTIONS)?;
    let streams = target.share(STREAMS);
    let opening = (0..streams).map(|number| {
        let channel = connections[number % CONNECTIONS].clone();
        let request = create(&format!("idle/{number}"), true);
        async move { Watching::open(&channel, vec![request]).await }
    });
    let opened: Vec<_> = stream::iter(opening).buffer_unordered(AT_ONCE).collect().await;
    let mut outcome = Outcome::default();
    let open: Vec<_> = opened.into_iter().filter_map(|answer| outcome.take(answer)).collect();
    tokio::time::sleep(target.time).await;
    outcome.reached = format!("{} streams on {CONNECTIONS} connections", open.len());
    Ok(outcome)
}
