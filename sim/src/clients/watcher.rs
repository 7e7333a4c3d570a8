//! Watches keys, over many streams one after the other.

use std::time::Duration;

use api::berthpb::EncodedWatchResponse;
use api::etcdserverpb::WatchCreateRequest;
use api::mvccpb::Event;
use futures::channel::mpsc;
use futures::stream::StreamExt;
use openraft_rt::{AsyncRuntime, Select2};
use prost::Message;

use super::Stop;
use super::keys::{PREFIX, revision};
use crate::cluster::{Cluster, SimNode};
use crate::history::{Heard, Session, Watch};
use crate::runtime::Simulated;

pub(super) struct Watcher {
    cluster: Cluster,
    stop: Stop,
    /// Its place in the history.
    place: usize,
    prefix: String,
    prev_kv: bool,
    /// The revision to go on from; 0: none was heard of yet.
    next: i64,
}

/// How a watcher reads one stream.
#[derive(Clone, Copy)]
struct Manner {
    /// Responses until it goes elsewhere.
    responses_max: u64,
    /// How long it takes for each response, in microseconds.
    pause_us_max: u64,
    asks_for_progress: bool,
}

impl Watcher {
    pub(super) fn new(cluster: Cluster, stop: Stop) -> Watcher {
        let chance = &cluster.world.chance;
        let prefix = match chance.index(3) {
            0 => format!("{PREFIX}{}", chance.index(4)),
            _ => PREFIX.to_owned(),
        };
        let prev_kv = chance.one_in_thousand(500);
        let watch = Watch { prefix: prefix.clone(), prev_kv, sessions: Vec::new() };
        let place = {
            let mut watches = cluster.world.history.watches.lock();
            watches.push(watch);
            watches.len() - 1
        };
        Watcher { cluster, stop, place, prefix, prev_kv, next: 0 }
    }

    pub(super) async fn run(mut self) {
        while !self.stop.is_set() {
            let chance = &self.cluster.world.chance;
            let Some(id) = chance.pick(&self.cluster.running()) else {
                Simulated::sleep(Duration::from_millis(200)).await;
                continue;
            };
            let manner = Manner {
                responses_max: chance.number(1..200),
                pause_us_max: chance.pick(&[1, 1000, 100_000]).expect("there are some"),
                asks_for_progress: chance.one_in_thousand(300),
            };
            self.session(id, manner).await;
            Simulated::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn session(&mut self, id: u64, manner: Manner) {
        let world = self.cluster.world.clone();
        let Some((process, node)) = self.cluster.process(id).zip(self.cluster.node(id)) else {
            return Simulated::sleep(Duration::from_millis(100)).await;
        };
        world.log.line(format_args!("w{} watches at m{id} from {}", self.place, self.next));
        world.count("watch streams");
        let session = Session { start: self.next, heard: Vec::new() };
        world.history.watches.lock()[self.place].sessions.push(session);
        let request = WatchCreateRequest {
            key: self.prefix.clone().into(),
            range_end: end_of(&self.prefix).into(),
            start_revision: self.next,
            prev_kv: self.prev_kv,
            progress_notify: true,
            ..WatchCreateRequest::default()
        };
        // A narrow channel: a slow reader is felt by the member.
        let (tx, mut rx) = mpsc::channel(1);
        drop(process.spawn(serve(node, request, manner.asks_for_progress, tx)));
        for _ in 0..manner.responses_max {
            let limit = Duration::from_secs(3);
            let Ok(Some(response)) = Simulated::timeout(limit, rx.next()).await else { break };
            let pause = Duration::from_micros(world.chance.number(0..manner.pause_us_max));
            Simulated::sleep(pause).await;
            if !self.hear(&response) || self.stop.is_set() {
                break;
            }
        }
    }

    /// False if the stream is over.
    fn hear(&mut self, response: &EncodedWatchResponse) -> bool {
        let at = revision(&response.header);
        let heard = if response.canceled {
            self.next = response.compact_revision;
            Heard::Compacted(response.compact_revision)
        } else if response.created {
            Heard::Created(at)
        } else if response.events.is_empty() {
            self.next = self.next.max(at + 1);
            Heard::Progress(at)
        } else {
            let events = response.events.iter().map(|event| Event::decode(&event[..]));
            let events: Vec<Event> = events.filter_map(Result::ok).collect();
            let last = events.iter().filter_map(|event| event.kv.as_ref()).next_back();
            self.next = last.map_or(self.next, |kv| kv.mod_revision + 1);
            Heard::Events(events)
        };
        let world = &self.cluster.world;
        world.log.line(format_args!("w{} {}", self.place, brief(&heard)));
        let goes_on = !matches!(heard, Heard::Compacted(_));
        if !goes_on {
            world.count("watches told of a compaction");
        }
        if let Heard::Events(events) = &heard {
            world.add("watch events", events.len() as u64);
        }
        let mut watches = world.history.watches.lock();
        let session = watches[self.place].sessions.last_mut().expect("it was begun before");
        session.heard.push(heard);
        goes_on
    }
}

/// What the member does for one stream, until nobody reads it.
async fn serve(
    node: SimNode,
    request: WatchCreateRequest,
    asks_for_progress: bool,
    mut out: mpsc::Sender<EncodedWatchResponse>,
) {
    use futures::SinkExt;
    let mut stream = node.hub().open();
    if stream.create(&request).is_err() {
        return;
    }
    let mut count = 0;
    loop {
        let wait = Box::pin(Simulated::sleep(Duration::from_millis(300)));
        match Simulated::select2(Box::pin(stream.next()), wait).await {
            Select2::First(Some(response)) => {
                // In the middle of catching up, too.
                if asks_for_progress && count % 2 == 0 {
                    stream.request_progress();
                }
                count += 1;
                if out.send(response).await.is_err() {
                    return;
                }
            }
            Select2::First(None) => return,
            Select2::Second(()) if out.is_closed() => return,
            Select2::Second(()) if asks_for_progress => stream.request_progress(),
            Select2::Second(()) => {}
        }
    }
}

/// The end of the range of all keys with the prefix.
pub(crate) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

fn brief(heard: &Heard) -> String {
    match heard {
        Heard::Events(events) => {
            let kv = |event: &Event| event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            format!("hears of {:?}", events.iter().map(kv).collect::<Vec<_>>())
        }
        other => format!("hears {other:?}"),
    }
}
