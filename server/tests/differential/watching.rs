//! One watch stream with many watchers, and the judgement of what they saw.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::etcdserverpb::watch_client::WatchClient;
use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use api::mvccpb::Event;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// Much longer than any server takes to deliver what it has.
const DELIVERY_S_MAX: u64 = 30;

/// The client's end of one stream; a task sorts what arrives.
pub(crate) struct WatchStream {
    requests: mpsc::Sender<WatchRequest>,
    control: mpsc::UnboundedReceiver<WatchResponse>,
    seen: Arc<Seen>,
}

/// What has arrived and was not yet taken.
#[derive(Default)]
struct Seen {
    state: Mutex<SeenState>,
    arrived: Notify,
}

#[derive(Default)]
struct SeenState {
    events: HashMap<i64, Vec<Event>>,
    last_revision: HashMap<i64, i64>,
    violations: Vec<String>,
}

impl WatchStream {
    /// Opens a stream, as the owner of `token` if there is one. Does not wait: etcd answers
    /// nothing at all before the first request on the stream.
    pub(crate) fn open(client: &WatchClient<Channel>, token: Option<&str>) -> Self {
        let (requests, outgoing) = mpsc::channel(16);
        let request = testkit::with_token(ReceiverStream::new(outgoing), token);
        let (control_sender, control) = mpsc::unbounded_channel();
        let seen = Arc::new(Seen::default());
        tokio::spawn(sort_answers(client.clone(), request, control_sender, Arc::clone(&seen)));
        Self { requests, control, seen }
    }

    pub(crate) async fn create(&self, request: WatchCreateRequest) {
        self.send(RequestUnion::CreateRequest(request)).await;
    }

    pub(crate) async fn cancel(&self, watch_id: i64) {
        self.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id })).await;
    }

    pub(crate) async fn request_progress(&self) {
        self.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
    }

    async fn send(&self, union: RequestUnion) {
        let request = WatchRequest { request_union: Some(union) };
        // On a stream that has ended, the missing answer fails the step.
        let _ = self.requests.send(request).await;
    }

    /// The next answer that carries no events: created, canceled or progress. `None` after a
    /// long silence or the end of the stream.
    pub(crate) async fn next_control(&mut self) -> Option<WatchResponse> {
        let answer = timeout(Duration::from_secs(DELIVERY_S_MAX), self.control.recv()).await;
        answer.ok().flatten()
    }

    /// Waits until the watcher has seen `count` events or a revision of at least `revision`, for
    /// a bounded time, then takes all its events.
    pub(crate) async fn take(&self, watch_id: i64, count: usize, revision: i64) -> Vec<Event> {
        let _ = timeout(Duration::from_secs(DELIVERY_S_MAX), async {
            loop {
                let arrived = self.seen.arrived.notified();
                if self.has(watch_id, count, revision) {
                    return;
                }
                arrived.await;
            }
        })
        .await;
        let mut state = self.seen.state.lock().expect("no holder panics");
        state.events.remove(&watch_id).unwrap_or_default()
    }

    fn has(&self, watch_id: i64, count: usize, revision: i64) -> bool {
        let state = self.seen.state.lock().expect("no holder panics");
        state.events.get(&watch_id).map_or(0, Vec::len) >= count
            || state.last_revision.get(&watch_id).is_some_and(|last| *last >= revision)
    }

    /// What arrived against the rules of every watch, in words.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.seen.state.lock().expect("no holder panics").violations.clone()
    }
}

async fn sort_answers(
    mut client: WatchClient<Channel>,
    requests: tonic::Request<ReceiverStream<WatchRequest>>,
    control: mpsc::UnboundedSender<WatchResponse>,
    seen: Arc<Seen>,
) {
    let end = match client.watch(requests).await {
        Ok(answers) => sort_until_end(answers.into_inner(), &control, &seen).await,
        Err(refusal) => Some(refusal),
    };
    let mut state = seen.state.lock().expect("no holder panics");
    state.violations.push(format!("the stream ended: {end:?}"));
}

async fn sort_until_end(
    mut answers: Streaming<WatchResponse>,
    control: &mpsc::UnboundedSender<WatchResponse>,
    seen: &Seen,
) -> Option<Status> {
    loop {
        match answers.message().await {
            Ok(Some(answer)) => seen.sort(answer, control),
            Ok(None) => return None,
            Err(refusal) => return Some(refusal),
        }
    }
}

impl Seen {
    fn sort(&self, answer: WatchResponse, control: &mpsc::UnboundedSender<WatchResponse>) {
        let mut state = self.state.lock().expect("no holder panics");
        if !answer.events.is_empty() {
            state.accept(answer);
            drop(state);
            return self.arrived.notify_waiters();
        }
        if answer.created && !answer.canceled {
            // The id may have belonged to a watcher that is gone.
            state.last_revision.remove(&answer.watch_id);
        }
        // Nobody listens any more when the test has ended.
        let _ = control.send(answer);
    }
}

impl SeenState {
    fn accept(&mut self, answer: WatchResponse) {
        let revisions: Vec<i64> = answer.events.iter().map(mod_revision).collect();
        let last = self.last_revision.entry(answer.watch_id).or_default();
        let first_new = revisions[0];
        if first_new <= *last {
            self.violations.push(format!(
                "watcher {} got revision {first_new} after {last} was complete",
                answer.watch_id
            ));
        }
        if !revisions.is_sorted() {
            self.violations.push(format!("watcher {}: out of order", answer.watch_id));
        }
        *last = revisions[revisions.len() - 1];
        let header_revision = answer.header.map_or(0, |header| header.revision);
        if header_revision < *last {
            self.violations.push(format!(
                "watcher {}: header revision {header_revision} below its event's {last}",
                answer.watch_id
            ));
        }
        self.events.entry(answer.watch_id).or_default().extend(answer.events);
    }
}

/// The revision of an event.
pub(crate) fn mod_revision(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

/// A watcher that exists on both sides, as the judge knows it.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    pub id: i64,
    pub request: WatchCreateRequest,
    /// The first revision that it has to report from now on.
    pub next_revision: i64,
}

impl Watcher {
    /// What it has to see of the history `events`, as it has to see it.
    pub(crate) fn expected(&self, events: &[Event]) -> Vec<Event> {
        events
            .iter()
            .filter(|event| mod_revision(event) >= self.next_revision && self.covers(event))
            .map(|event| Event {
                prev_kv: event.prev_kv.clone().filter(|_| self.request.prev_kv),
                ..event.clone()
            })
            .collect()
    }

    fn covers(&self, event: &Event) -> bool {
        // NOPUT is 0 and leaves out PUT, which is 0; NODELETE is 1 and leaves out DELETE.
        let filtered = self.request.filters.contains(&event.r#type);
        let key = event.kv.as_ref().map_or(&[][..], |kv| &kv.key[..]);
        let from = if self.request.key.is_empty() { &[0][..] } else { &self.request.key[..] };
        let inside = match &self.request.range_end[..] {
            [] => key == from,
            [0] => key >= from,
            end => key >= from && key < end,
        };
        inside && !filtered
    }
}
