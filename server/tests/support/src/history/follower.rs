//! A watcher that outlives its server: it resumes after each cut where it was, there or at
//! another member.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::task::JoinHandle;

use super::History;
use crate::client::{Clients, bounded, connect};

/// Follows all keys.
#[derive(Debug)]
pub struct Follower {
    position: Position,
    streams: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// How far a follower has come, and what it saw.
#[derive(Clone, Debug)]
pub struct Position(Arc<Mutex<History>>);

impl Position {
    fn history(&self) -> MutexGuard<'_, History> {
        self.0.lock().expect("no holder panics")
    }

    /// The last revision that it has seen.
    pub fn revision(&self) -> i64 {
        self.history().last_revision()
    }
}

impl Follower {
    /// Follows from the first revision on, at the first of `endpoints` as long as it serves.
    pub fn start(endpoints: &[String]) -> Self {
        Self::start_from(endpoints, 1)
    }

    /// Follows what comes after `revision`.
    pub fn start_from(endpoints: &[String], revision: i64) -> Self {
        let position = Position(Arc::new(Mutex::new(History::after(revision))));
        let members = endpoints.iter().map(|endpoint| connect(endpoint)).collect();
        let streams = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(follow(members, position.clone(), Arc::clone(&streams)));
        Self { position, streams, task }
    }

    /// A handle that tells how far it is.
    pub fn position(&self) -> Position {
        self.position.clone()
    }

    /// How many streams it has opened: one, if none was ever cut.
    pub fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    /// What it saw, once it has seen `revision`.
    pub async fn upto(&self, revision: i64) -> History {
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

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(mut members: Vec<Clients>, position: Position, streams: Arc<AtomicU64>) {
    loop {
        for clients in &mut members {
            streams.fetch_add(1, Ordering::Relaxed);
            follow_one_life(clients, &position).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
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
