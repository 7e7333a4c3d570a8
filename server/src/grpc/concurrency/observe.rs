//! Each leader of an election, and what it proclaims, for as long as the caller reads.

use api::etcdserverpb::ResponseHeader;
use api::mvccpb::KeyValue;
use api::mvccpb::event::EventType;
use api::v3electionpb::LeaderResponse;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::client::{Client, end_of_prefix, told};

/// Answers made before the caller takes them. It may be slow: what it has not taken yet is history,
/// and is read as such.
const AHEAD: usize = 1;

type Told = Result<LeaderResponse, Status>;

/// Ends with an error alone.
pub(super) fn start(client: Client, prefix: Bytes) -> ReceiverStream<Told> {
    let (observer, leaders) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let observing = async {
            let Err(error) = observe(&client, &prefix, &observer).await;
            // Nobody may be left to hear it.
            let _ = observer.send(Err(told(error))).await;
        };
        tokio::select! {
            () = observing => {}
            () = observer.closed() => {}
        }
    });
    ReceiverStream::new(leaders)
}

async fn observe(
    client: &Client,
    prefix: &Bytes,
    observer: &mpsc::Sender<Told>,
) -> Result<std::convert::Infallible, Status> {
    loop {
        let Some(leader) = leader(client, prefix).await? else { continue };
        let LeaderResponse { header: Some(header), kv: Some(kv) } = &leader else { continue };
        let (key, since) = (kv.key.clone(), header.revision + 1);
        tell(observer, leader).await;
        let mut changes = client.watch(key, Bytes::new(), since)?;
        'leads: while let Some(events) = changes.next().await? {
            for event in events {
                match event.kv {
                    Some(kv) if event.r#type == EventType::Put as i32 => {
                        tell(observer, as_of_its_revision(client, kv)).await;
                    }
                    _ => break 'leads,
                }
            }
        }
    }
}

/// Who leads now, or is the next to; `None`: look again.
async fn leader(client: &Client, prefix: &Bytes) -> Result<Option<LeaderResponse>, Status> {
    let found = client.first_under(prefix).await?;
    if let Some(kv) = found.kvs.into_iter().next() {
        return Ok(Some(LeaderResponse { header: found.header, kv: Some(kv) }));
    }
    let since = found.header.map_or(0, |header| header.revision);
    let mut changes = client.watch(prefix.clone(), end_of_prefix(prefix), since + 1)?;
    while let Some(events) = changes.next().await? {
        // Those of one revision come together, and the first of them is the oldest key.
        let puts = events.into_iter().filter(|event| event.r#type() == EventType::Put);
        if let Some(kv) = puts.filter_map(|event| event.kv).next() {
            return Ok(Some(as_of_its_revision(client, kv)));
        }
    }
    Ok(None)
}

fn as_of_its_revision(client: &Client, kv: KeyValue) -> LeaderResponse {
    let header = ResponseHeader { revision: kv.mod_revision, ..Default::default() };
    LeaderResponse { header: client.filled(header), kv: Some(kv) }
}

/// An observer that has gone ends all this from outside.
async fn tell(observer: &mpsc::Sender<Told>, leader: LeaderResponse) {
    let _ = observer.send(Ok(leader)).await;
}
