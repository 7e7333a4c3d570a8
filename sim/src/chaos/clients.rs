//! Those who use the cluster, over gRPC, and note what they asked and what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::berthpb::command::Op;
use api::etcdserverpb as pb;
use api::etcdserverpb::watch_request::RequestUnion;
use api::mvccpb::event::EventType;
use store::{Event, EventBatch, EventKind, Response, Revision};
use testkit::{Clients, connect};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use super::{Scene, compactions};
use crate::clients::Stop;
use crate::clients::keys::{self, PREFIX, revision};
use crate::clients::watcher::end_of;
use crate::history::{Change, Heard, Lease, Operation, Outcome, Request, Session, Watch};

/// After so long a client gives up on an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clients that read and write, besides those that hold leases and watch.
const CLIENTS: usize = 8;
const HOLDERS: usize = 3;
const WATCHERS: usize = 4;
const KEYS: u64 = 12;
/// The prefix of keys that hang on leases.
const LEASED: &str = "lease";
/// The most keys that hang on one.
const LEASED_MAX: usize = 3;
/// A client that is told no at once asks again after this.
const PAUSE: Duration = Duration::from_millis(20);

/// All clients of one run.
pub(super) struct Crowd {
    scene: Scene,
    writing: Stop,
    watching: Stop,
    writers: std::sync::Mutex<JoinSet<()>>,
    watchers: std::sync::Mutex<JoinSet<()>>,
    answered: Arc<AtomicU64>,
}

impl Crowd {
    pub(super) fn start(scene: &Scene) -> Crowd {
        let (writing, watching) = (Stop::default(), Stop::default());
        let answered = Arc::new(AtomicU64::new(0));
        let (mut writers, mut watchers) = (JoinSet::new(), JoinSet::new());
        for number in 0..CLIENTS {
            let (scene, stop) = (scene.clone(), writing.clone());
            writers.spawn(read_and_write(scene, number, stop, answered.clone()));
        }
        for number in 0..HOLDERS {
            writers.spawn(hold_leases(scene.clone(), number, writing.clone()));
        }
        for number in 0..WATCHERS {
            watchers.spawn(watch(scene.clone(), number, watching.clone()));
        }
        writers.spawn(compactions::compact(scene.clone(), writing.clone()));
        watchers.spawn(chronicle(scene.clone(), watching.clone()));
        Crowd {
            scene: scene.clone(),
            writing,
            watching,
            writers: writers.into(),
            watchers: watchers.into(),
            answered,
        }
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) async fn stop_writing(&self) {
        self.writing.stop();
        end(&self.writers).await;
    }

    /// Waits until every watch has heard of `end`; false if one does not.
    pub(super) async fn follow_to(&self, end: i64, limit: Duration) -> bool {
        let followed = async {
            loop {
                let told = self.scene.history.truth.lock().last_revision();
                if told >= end && crate::oracle::unserved(&self.scene.history).is_none() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(limit, followed).await.is_ok()
    }

    pub(super) async fn stop(&self) {
        self.watching.stop();
        end(&self.watchers).await;
    }
}

async fn end(tasks: &std::sync::Mutex<JoinSet<()>>) {
    let mut tasks = std::mem::take(&mut *tasks.lock().expect("nobody panics while it is held"));
    while tasks.join_next().await.is_some() {}
}

impl Scene {
    /// Connections to all members, and one of them at random.
    pub(super) fn connect(&self) -> Vec<Clients> {
        self.endpoints.iter().map(|endpoint| connect(endpoint)).collect()
    }
}

async fn read_and_write(scene: Scene, number: usize, stop: Stop, answered: Arc<AtomicU64>) {
    let mut members = scene.connect();
    let (mut count, mut seen) = (0, 0);
    while !stop.is_set() {
        count += 1;
        let request = keys::choose(&scene.chance, KEYS, seen, format!("{number}-{count}"));
        let member = scene.chance.index(members.len());
        let outcome = note_answer(&scene, &mut members[member], (number, member), request).await;
        match &outcome {
            Outcome::Unknown | Outcome::Refused => tokio::time::sleep(PAUSE).await,
            Outcome::Read { kvs, .. } => seen = kvs.first().map_or(0, |kv| kv.mod_revision),
            _ => {}
        }
        if outcome.revision().is_some() {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads everything at each of the members, so that what they hold in the end is judged too; false
/// if one does not answer.
pub(super) async fn read_all(scene: &Scene) -> bool {
    let mut all = true;
    for (at, clients) in scene.connect().iter_mut().enumerate() {
        let outcome = note_answer(scene, clients, (CLIENTS, at), Request::List).await;
        all &= outcome.revision().is_some();
    }
    all
}

/// Asks, and writes down what was asked and answered. `who`: the number of the client, and the
/// place of the member.
async fn note_answer(
    scene: &Scene,
    clients: &mut Clients,
    (client, at): (usize, usize),
    request: Request,
) -> Outcome {
    let invoked_ns = scene.now_ns();
    let outcome = match tokio::time::timeout(PATIENCE, perform(clients, request.clone())).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(status)) => of_status(&status),
        Err(_) => Outcome::Unknown,
    };
    let (member, answered_ns) = (at as u64 + 1, scene.now_ns());
    let kept = outcome.clone();
    let done = Operation { client, member, request, invoked_ns, answered_ns, outcome: kept };
    scene.history.operations.lock().push(done);
    outcome
}

async fn perform(clients: &mut Clients, request: Request) -> Result<Outcome, Status> {
    match request {
        Request::Get { key, serializable } => {
            read(clients, key.into_bytes(), Vec::new(), serializable).await
        }
        Request::List => read(clients, PREFIX.into(), keys::END.into(), false).await,
        request => {
            let response = match keys::command(request).op {
                Some(Op::Put(put)) => Response::Put(clients.kv.put(put).await?.into_inner()),
                Some(Op::DeleteRange(delete)) => {
                    Response::DeleteRange(clients.kv.delete_range(delete).await?.into_inner())
                }
                Some(Op::Txn(txn)) => Response::Txn(clients.kv.txn(txn).await?.into_inner()),
                _ => unreachable!("a client writes in these three ways"),
            };
            Ok(keys::outcome(response))
        }
    }
}

async fn read(
    clients: &mut Clients,
    key: Vec<u8>,
    range_end: Vec<u8>,
    serializable: bool,
) -> Result<Outcome, Status> {
    let (key, range_end) = (key.into(), range_end.into());
    let request = pb::RangeRequest { key, range_end, serializable, ..pb::RangeRequest::default() };
    let found = clients.kv.range(request).await?.into_inner();
    Ok(Outcome::Read { revision: revision(&found.header), kvs: found.kvs })
}

/// What etcd's clients make of a refusal: these codes say that nothing was done.
fn of_status(status: &Status) -> Outcome {
    match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange | Code::NotFound => {
            Outcome::Refused
        }
        _ => Outcome::Unknown,
    }
}

async fn hold_leases(scene: Scene, number: usize, stop: Stop) {
    let mut members = scene.connect();
    let mut count = 0;
    while !stop.is_set() {
        count += 1;
        let id = i64::try_from(number).expect("few") * 100_000 + count;
        let member = scene.chance.index(members.len());
        let held = hold(&scene, &mut members[member], id, &stop).await;
        scene.history.leases.lock().extend(held);
        tokio::time::sleep(scene.chance.millis(10..1000)).await;
    }
}

async fn hold(scene: &Scene, clients: &mut Clients, id: i64, stop: &Stop) -> Option<Lease> {
    let ttl_s = scene.chance.number(2..6);
    let ttl = i64::try_from(ttl_s).expect("few seconds");
    let sent = scene.now_ns();
    bounded(clients.lease.lease_grant(pb::LeaseGrantRequest { id, ttl })).await?;
    let mut attached = Vec::new();
    for number in 0..=scene.chance.index(LEASED_MAX) {
        let key = format!("{LEASED}{id}-{number}");
        let put = keys::put(key.clone(), format!("of {id}"), id);
        let put = bounded(clients.kv.put(put)).await;
        attached.extend(put.map(|put| (key, revision(&put.header))));
    }
    let mut lease = Lease { id, ttl_s, keys: attached, alive_ns: vec![sent], revoked: false };
    for _ in 0..scene.chance.index(5) {
        tokio::time::sleep(scene.chance.millis(100..ttl_s * 400)).await;
        let sent = scene.now_ns();
        let request = tokio_stream::once(pb::LeaseKeepAliveRequest { id });
        let kept = bounded(clients.lease.lease_keep_alive(request)).await;
        if let Some(mut kept) = kept
            && let Ok(Ok(Some(answer))) = tokio::time::timeout(PATIENCE, kept.message()).await
            && answer.ttl > 0
        {
            lease.alive_ns.push(sent);
        }
        if stop.is_set() {
            break;
        }
    }
    if scene.chance.one_in_thousand(250) {
        lease.revoked = true;
        bounded(clients.lease.lease_revoke(pb::LeaseRevokeRequest { id })).await;
    }
    Some(lease)
}

/// The answer, if there is one soon and it is none of refusal.
pub(super) async fn bounded<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Option<T> {
    let answer = tokio::time::timeout(PATIENCE, call).await.ok()?;
    answer.ok().map(tonic::Response::into_inner)
}

/// Watches until told to stop, at one member after the other.
async fn watch(scene: Scene, number: usize, stop: Stop) {
    let prefix = if number == 0 { PREFIX.to_owned() } else { format!("{PREFIX}{number}") };
    let prev_kv = number % 2 == 1;
    let place = {
        let mut watches = scene.history.watches.lock();
        watches.push(Watch { prefix: prefix.clone(), prev_kv, sessions: Vec::new() });
        watches.len() - 1
    };
    let mut members = scene.connect();
    let mut next = 1;
    while !stop.is_set() {
        let member = scene.chance.index(members.len());
        let create = pb::WatchCreateRequest {
            key: prefix.clone().into(),
            range_end: end_of(&prefix).into(),
            start_revision: next,
            prev_kv,
            progress_notify: true,
            ..pb::WatchCreateRequest::default()
        };
        let session = Session { start: next, heard: Vec::new() };
        scene.history.watches.lock()[place].sessions.push(session);
        let limit = scene.chance.millis(2_000..20_000);
        listen(&mut members[member], create, limit, &stop, |answer| {
            let heard = hear(answer);
            match &heard {
                Heard::Events(events) => {
                    let last = events.iter().filter_map(|event| event.kv.as_ref()).next_back();
                    next = last.map_or(next, |kv| kv.mod_revision + 1);
                }
                Heard::Progress(revision) => next = next.max(revision + 1),
                Heard::Compacted(revision) => next = *revision,
                Heard::Created(_) => {}
            }
            let goes_on = !matches!(heard, Heard::Compacted(_));
            let mut watches = scene.history.watches.lock();
            let session = watches[place].sessions.last_mut().expect("it was begun before");
            session.heard.push(heard);
            goes_on
        })
        .await;
        tokio::time::sleep(PAUSE).await;
    }
}

fn hear(answer: pb::WatchResponse) -> Heard {
    let at = revision(&answer.header);
    if answer.canceled {
        Heard::Compacted(answer.compact_revision)
    } else if answer.created {
        Heard::Created(at)
    } else if answer.events.is_empty() {
        Heard::Progress(at)
    } else {
        Heard::Events(answer.events)
    }
}

/// One stream, until it breaks, what is `heard` is the last, the time is over, or everything is.
async fn listen(
    clients: &mut Clients,
    create: pb::WatchCreateRequest,
    limit: Duration,
    stop: &Stop,
    mut heard: impl FnMut(pb::WatchResponse) -> bool,
) {
    let first = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // The sending half stays open: a client that closes it ends the watch.
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    if sender.send(first).await.is_err() {
        return;
    }
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let Some(mut answers) = bounded(clients.watch.watch(requests)).await else { return };
    let end = tokio::time::Instant::now() + limit;
    while !stop.is_set() && tokio::time::Instant::now() < end {
        match tokio::time::timeout(Duration::from_millis(500), answers.message()).await {
            Ok(Ok(Some(answer))) => {
                if !heard(answer) {
                    return;
                }
            }
            Ok(_) => return,
            // Silence is no end.
            Err(_) => {}
        }
    }
}

/// Writes down all that ever happened, as the watches of all members tell it.
async fn chronicle(scene: Scene, stop: Stop) {
    let mut members = scene.connect();
    let mut next = 1;
    while !stop.is_set() {
        let member = scene.chance.index(members.len());
        let create = pb::WatchCreateRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            start_revision: next,
            ..pb::WatchCreateRequest::default()
        };
        listen(&mut members[member], create, Duration::from_secs(30), &stop, |answer| {
            for batch in batches(answer.events) {
                next = batch.revision + 1;
                note(&scene, batch);
            }
            true
        })
        .await;
        tokio::time::sleep(PAUSE).await;
    }
}

fn note(scene: &Scene, batch: EventBatch) {
    let leased = |event: &Event| event.kv.key.starts_with(LEASED.as_bytes());
    let expiry = batch.events.iter().all(|it| it.kind == EventKind::Delete && leased(it));
    let change = Change { first_ns: scene.now_ns(), expiry, batch: Arc::new(batch) };
    scene.history.truth.lock().changes.entry(change.batch.revision).or_insert(change);
}

/// One for each revision.
fn batches(events: Vec<api::mvccpb::Event>) -> Vec<EventBatch> {
    let mut all: Vec<EventBatch> = Vec::new();
    for event in events {
        let deleted = event.r#type == EventType::Delete as i32;
        let kind = if deleted { EventKind::Delete } else { EventKind::Put };
        let Some(kv) = event.kv else { continue };
        let main = kv.mod_revision;
        if all.last().is_none_or(|last| last.revision != main) {
            all.push(EventBatch { revision: main, events: Vec::new() });
        }
        let Some(last) = all.last_mut() else { continue };
        let sub = u32::try_from(last.events.len()).unwrap_or(u32::MAX);
        last.events.push(Event { kind, kv, revision: Revision::new(main, sub), prev: None });
    }
    all
}
