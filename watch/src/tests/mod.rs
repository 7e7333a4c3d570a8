//! The hub driven by hand: a store of plain maps, and polls instead of tasks.

mod fake;
mod model;
mod progress;
mod slow;
mod watching;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use api::berthpb::EncodedWatchResponse;
use api::etcdserverpb::WatchCreateRequest;
use api::mvccpb::Event;
use futures::task::noop_waker_ref;
use prost::Message;

use crate::{Hub, Options, Publisher, WatchStream};
use fake::Fake;

/// A store, its hub, and the hub's task.
struct Bench {
    store: Fake,
    hub: Hub,
    publisher: Publisher,
    task: Pin<Box<dyn Future<Output = ()>>>,
}

impl Bench {
    fn new(options: Options) -> Bench {
        let store = Fake::new();
        let (hub, publisher) = Hub::new(store.clone(), options);
        let task = Box::pin(hub.clone().run());
        Bench { store, hub, publisher, task }
    }

    /// One revision: puts, and deletes where there is no value. It is published, not delivered.
    fn write(&self, changes: &[(&str, Option<&str>)]) {
        if let Some(batch) = self.store.write(changes) {
            self.publisher.publish(&[batch]);
        }
    }

    fn put(&self, key: &str, value: &str) {
        self.write(&[(key, Some(value))]);
    }

    /// Polls the hub's task a number of times.
    fn poll(&mut self, times: usize) -> Poll<()> {
        let mut context = Context::from_waker(noop_waker_ref());
        for _ in 0..times {
            if self.task.as_mut().poll(&mut context).is_ready() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Polls until nothing is left to do for the hub; streams may be full.
    fn settle(&mut self) {
        let _ = self.poll(200);
    }

    /// Delivers, and takes all that there is on a stream.
    fn take_all(&mut self, stream: &mut WatchStream) -> Vec<EncodedWatchResponse> {
        let mut taken = Vec::new();
        loop {
            self.settle();
            let before = taken.len();
            while let Some(response) = take(stream) {
                taken.push(response);
            }
            if taken.len() == before {
                return taken;
            }
        }
    }
}

/// What is there now.
fn take(stream: &mut WatchStream) -> Option<EncodedWatchResponse> {
    let mut context = Context::from_waker(noop_waker_ref());
    match stream.poll_next(&mut context) {
        Poll::Ready(Some(response)) => Some(response),
        _ => None,
    }
}

fn is_ended(stream: &mut WatchStream) -> bool {
    let mut context = Context::from_waker(noop_waker_ref());
    matches!(stream.poll_next(&mut context), Poll::Ready(None))
}

fn on(key: &str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.to_owned().into(), ..Default::default() }
}

fn events(response: &EncodedWatchResponse) -> Vec<Event> {
    response.events.iter().map(|bytes| Event::decode(bytes.clone()).unwrap()).collect()
}

/// A response in one line, as the tests compare it.
fn line(response: &EncodedWatchResponse) -> String {
    let mut line =
        format!("#{} @{}", response.watch_id, response.header.as_ref().unwrap().revision);
    if response.created {
        line += " created";
    }
    if response.canceled {
        line += " canceled";
    }
    if response.compact_revision != 0 {
        line += &format!(" compacted={}", response.compact_revision);
    }
    if !response.cancel_reason.is_empty() {
        line += &format!(" {:?}", response.cancel_reason);
    }
    for event in events(response) {
        let kv = event.kv.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match event.r#type {
            0 => line += &format!(" {}={}", text(&kv.key), text(&kv.value)),
            _ => line += &format!(" -{}", text(&kv.key)),
        }
        line += &format!("@{}", kv.mod_revision);
        if let Some(prev) = event.prev_kv {
            line += &format!("(was {}@{})", text(&prev.value), prev.mod_revision);
        }
    }
    if response.fragment {
        line += " ...";
    }
    line
}

fn lines(responses: &[EncodedWatchResponse]) -> Vec<String> {
    responses.iter().map(line).collect()
}
