//! Watches that lost, repeated or made up events.

use api::etcdserverpb::WatchResponse;
use testkit::{Server, subject};

use crate::steps::{Stream, put, revisions};

/// Proves that a progress notification is never ahead of events: each one that is asked for while a
/// watch catches up comes after all that it speaks of.
#[tokio::test]
async fn etcd_15220_progress_is_not_ahead_of_events() {
    let server = Server::start(subject!(), &[]).await;
    for count in 0..400 {
        put(&server.clients(), &format!("k{}", count % 7), "v").await;
    }
    let mut stream = Stream::open(&server.clients()).await;
    stream.watch(1).await;
    for _ in 0..20 {
        stream.ask_for_progress().await;
    }
    let (mut told, mut progress) = (1, 0);
    for response in stream.rest().await {
        if response.events.is_empty() && !response.created {
            progress += 1;
            let said = response.header.as_ref().map_or(0, |header| header.revision);
            assert!(said <= told, "progress r{said}, and only r{told} was told");
        }
        told = revisions(&[response]).last().copied().unwrap_or(told);
    }
    assert_eq!(told, 401, "all events came");
    assert!(progress > 0, "none was given");
}

/// Proves that a watch that is resumed behind another one on its stream never goes back in time.
#[tokio::test]
async fn etcd_15271_a_watch_does_not_go_back_in_time() {
    let server = Server::start(subject!(), &[]).await;
    for count in 0..200 {
        put(&server.clients(), &format!("k{}", count % 5), "v").await;
    }
    let mut stream = Stream::open(&server.clients()).await;
    for start in [1, 150, 50, 201, 100] {
        stream.watch(start).await;
        put(&server.clients(), "k", "more").await;
    }
    let responses = stream.rest().await;
    for (id, start) in [(0, 1), (1, 150), (2, 50), (3, 201), (4, 100)] {
        let of_watch = |it: &&WatchResponse| it.watch_id == id;
        let own: Vec<_> = responses.iter().filter(of_watch).cloned().collect();
        let told = revisions(&own);
        assert_eq!(told, (start.max(2)..=206).collect::<Vec<i64>>(), "watch {id} from {start}");
    }
}

/// Proves that many watches on one stream, all behind, all get everything: none starves.
#[tokio::test]
async fn etcd_17529_no_watch_of_many_on_one_stream_loses_events() {
    let server = Server::start(subject!(), &[]).await;
    let value = "v".repeat(2000);
    for count in 0..100 {
        put(&server.clients(), &format!("k{count}"), &value).await;
    }
    let mut stream = Stream::open(&server.clients()).await;
    for _ in 0..60 {
        stream.watch(1).await;
    }
    for count in 0..50 {
        put(&server.clients(), &format!("k{count}"), "new").await;
    }
    let responses = stream.rest().await;
    for id in 0..60 {
        let of_watch = |it: &&WatchResponse| it.watch_id == id;
        let own: Vec<_> = responses.iter().filter(of_watch).cloned().collect();
        assert_eq!(revisions(&own), (2..=151).collect::<Vec<i64>>(), "watch {id}");
    }
}

/// Proves that a watch for a revision that is not there yet hears of nothing older.
#[tokio::test]
async fn etcd_20221_a_watch_on_the_future_gets_no_old_events() {
    let server = Server::start(subject!(), &[]).await;
    for _ in 0..5 {
        put(&server.clients(), "k", "v").await;
    }
    let mut stream = Stream::open(&server.clients()).await;
    stream.watch(20).await;
    assert!(stream.next().await.created);
    for _ in 0..30 {
        put(&server.clients(), "k", "v").await;
    }
    assert_eq!(revisions(&stream.rest().await), (20..=36).collect::<Vec<i64>>());
}

/// Proves that watches created one right after the other, while there are writes, get every event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_20655_watches_created_fast_miss_nothing() {
    let server = Server::start(subject!(), &[]).await;
    let first = put(&server.clients(), "k", "v").await;
    let mut stream = Stream::open(&server.clients()).await;
    let write = async {
        for _ in 0..100 {
            put(&server.clients(), "k", "v").await;
        }
    };
    let create = async {
        for _ in 0..200 {
            stream.watch(first).await;
        }
    };
    tokio::join!(write, create);
    let responses = stream.rest().await;
    for id in 0..200 {
        let of_watch = |it: &&WatchResponse| it.watch_id == id;
        let own: Vec<_> = responses.iter().filter(of_watch).cloned().collect();
        assert_eq!(revisions(&own), (first..=first + 100).collect::<Vec<i64>>(), "watch {id}");
    }
}
