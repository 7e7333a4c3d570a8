//! The watch that a watch cache is fed by.

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    CompactionRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use api::mvccpb::Event;
use testkit::{Clients, Program, Server, bounded, subject};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};

use crate::calls::{
    PODS, PODS_END, create, pod, pods, put, range, read, remove, revision, txn, unchanged,
};

/// A watch, and where its requests go in.
pub(crate) struct Watch {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Watch {
    /// All pods from a revision on, with what they were, and with progress; only from a member that
    /// has a leader.
    pub(crate) async fn pods(clients: &Clients, start_revision: i64) -> Self {
        let create = WatchCreateRequest {
            key: PODS.into(),
            range_end: PODS_END.into(),
            start_revision,
            prev_kv: true,
            progress_notify: true,
            ..Default::default()
        };
        Self::of(clients, create).await
    }

    /// Any; only from a member that has a leader.
    pub(crate) async fn of(clients: &Clients, create: WatchCreateRequest) -> Self {
        Self::open(clients, create, true).await
    }

    /// Any, of any member.
    pub(crate) async fn anywhere(clients: &Clients, create: WatchCreateRequest) -> Self {
        Self::open(clients, create, false).await
    }

    async fn open(clients: &Clients, create: WatchCreateRequest, needs_leader: bool) -> Self {
        let (requests, stream) = mpsc::channel(8);
        let union = RequestUnion::CreateRequest(create);
        requests.send(WatchRequest { request_union: Some(union) }).await.unwrap();
        let mut call = Request::new(ReceiverStream::new(stream));
        if needs_leader {
            call.metadata_mut().insert("hasleader", "true".parse().unwrap());
        }
        let answers = bounded(clients.watch.clone().watch(call)).await.unwrap().into_inner();
        Self { requests, answers }
    }

    pub(crate) async fn next(&mut self) -> WatchResponse {
        bounded(self.answers.message()).await.unwrap().expect("the stream goes on")
    }

    pub(crate) async fn ask_progress(&self) {
        let union = RequestUnion::ProgressRequest(WatchProgressRequest {});
        self.requests.send(WatchRequest { request_union: Some(union) }).await.unwrap();
    }

    async fn created(&mut self) {
        let answer = self.next().await;
        assert!(answer.created && answer.events.is_empty(), "{answer:?}");
    }

    /// So many events.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.next().await.events);
        }
        events
    }
}

/// Proves that a watch from the revision after a list misses nothing and repeats nothing, shows what
/// each object was before, and says how far it has come when it is asked; on both servers alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_where_its_list_ended() {
    let mut seen = Vec::new();
    for program in [Program::etcd(), subject!()] {
        let server = Server::start(program, &[]).await;
        let clients = server.clients();
        create(&clients, &pod("before"), "1", 0).await;
        let listed = range(&clients, pods()).await;
        let at = listed.header.unwrap().revision;
        // Between the list and the watch.
        create(&clients, &pod("a"), "1", 0).await;
        let mut watch = Watch::pods(&clients, at + 1).await;
        watch.created().await;
        let (held, changed, _) =
            txn(&clients, unchanged(&pod("before"), at), put(&pod("before"), "2", 0), None).await;
        assert!(held);
        create(&clients, "/registry/services/default/s", "1", 0).await;
        let gone = txn(
            &clients,
            unchanged(&pod("before"), changed),
            remove(&pod("before")),
            Some(read("k")),
        );
        assert!(gone.await.0);
        let events = watch.events(3).await;
        seen.push(events.iter().map(|event| format!("{event:?}")).collect::<Vec<_>>());

        // Nothing of it is about pods, and yet the watch is told how far it has come.
        create(&clients, "/registry/services/default/t", "1", 0).await;
        let now = revision(&clients).await;
        let progress = loop {
            watch.ask_progress().await;
            let answer = watch.next().await;
            assert!(answer.events.is_empty(), "{answer:?}");
            let reached = answer.header.unwrap().revision;
            if reached >= now {
                break reached;
            }
        };
        assert_eq!(progress, now);
    }
    assert_eq!(seen[0], seen[1]);
}

/// Proves that a watch from what has been compacted is cancelled with the revision to list from: then
/// kube-apiserver answers 410 and its clients list again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_of_the_past_is_told_to_list_again() {
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    for number in 0..5 {
        create(&clients, &pod(&number.to_string()), "1", 0).await;
    }
    let revision = revision(&clients).await;
    let request = CompactionRequest { revision, physical: false };
    bounded(clients.kv.clone().compact(request)).await.unwrap();
    let mut watch = Watch::pods(&clients, 2).await;
    let answer = loop {
        let answer = watch.next().await;
        if answer.canceled {
            break answer;
        }
        assert!(answer.created && answer.events.is_empty(), "{answer:?}");
    };
    assert_eq!(answer.compact_revision, revision);
}
