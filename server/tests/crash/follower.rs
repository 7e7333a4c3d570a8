//! A watcher that outlives the server: it resumes after each crash where it was cut off.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use testkit::{Clients, bounded};
use tokio::task::JoinHandle;

use crate::history::History;

/// Follows all keys from the first revision on.
pub(crate) struct Follower {
    position: Position,
    task: JoinHandle<()>,
}

/// How far a follower has come, and what it saw.
#[derive(Clone)]
pub(crate) struct Position(Arc<Mutex<History>>);

impl Position {
    fn history(&self) -> MutexGuard<'_, History> {
        self.0.lock().expect("no holder panics")
    }

    pub(crate) fn revision(&self) -> i64 {
        self.history().last_revision()
    }
}

impl Follower {
    /// Follows from the first revision on.
    pub(crate) fn start(clients: Clients) -> Self {
        Self::start_from(clients, 1)
    }

    /// Follows what comes after `revision`.
    pub(crate) fn start_from(clients: Clients, revision: i64) -> Self {
        let position = Position(Arc::new(Mutex::new(History::after(revision))));
        let task = tokio::spawn(follow(clients, position.clone()));
        Self { position, task }
    }

    pub(crate) fn position(&self) -> Position {
        self.position.clone()
    }

    /// What it saw, once it has seen `revision`.
    pub(crate) async fn upto(&self, revision: i64) -> History {
        bounded(async {
            while self.position.revision() < revision {
                assert!(!self.task.is_finished(), "a watcher failed; see above");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        self.position.history().clone()
    }
}

async fn follow(mut clients: Clients, position: Position) {
    loop {
        follow_one_life(&mut clients, &position).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Watches until the stream breaks.
async fn follow_one_life(clients: &mut Clients, position: &Position) {
    let create = WatchCreateRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        start_revision: position.revision() + 1,
        ..Default::default()
    };
    let first = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // The sending half stays open: a client that closes it ends the watch.
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    sender.send(first).await.expect("the receiver is here");
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let Ok(answers) = clients.watch.watch(requests).await else { return };
    let mut answers = answers.into_inner();
    while let Ok(Some(answer)) = answers.message().await {
        accept(answer, position);
    }
}

fn accept(answer: WatchResponse, position: &Position) {
    assert!(!answer.canceled, "a watcher that resumes was cancelled: {answer:?}");
    position.history().extend(answer.events);
}
