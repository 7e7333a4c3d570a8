use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::berthpb::{LogEntry, SnapshotPiece, SnapshotStart};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;

#[tokio::test]
async fn appends_do_not_wait_for_answers() {
    // Shows that the stream opens before there is any answer, that all requests arrive before the
    // first is answered, and that answers come one by one, in order.
    let mut member = Listening::anywhere().await;
    let requests = endless((0..10).map(entry).collect());
    let link = member.link(Purpose::Replication);
    let mut answers = soon(link.append(requests, PATIENCE)).await.unwrap();
    for number in 0..10 {
        assert_eq!(member.next().await[..], [number]);
    }
    for number in 0..10 {
        member.leave.add_permits(1);
        assert_eq!(matching(&mut answers).await[..], [number]);
        assert!(futures::future::poll_immediate(answers.next()).await.is_none(), "one leave each");
    }
}

#[tokio::test]
async fn an_append_stream_ends_when_the_member_has_answered_all() {
    // Shows that the end of the requests is no error on either side.
    let member = Listening::anywhere().await;
    member.leave.add_permits(3);
    let link = member.link(Purpose::Replication);
    let requests = stream::iter((0..3).map(entry)).boxed();
    let answers = soon(link.append(requests, PATIENCE)).await.unwrap();
    let all: Vec<_> = soon(answers.collect()).await;
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    soon(member.over.cancelled()).await;
}

#[tokio::test]
async fn an_append_stream_breaks_when_the_member_vanishes() {
    // Shows one error as the last item, that comes from the break, and that the requests are let
    // go of.
    let mut member = Listening::anywhere().await;
    let link = member.link(Purpose::Replication);
    let (requests, dropped) = watched(endless(vec![entry(1)]));
    let mut answers = soon(link.append(requests, PATIENCE)).await.unwrap();
    member.next().await;
    drop(member);
    assert_interrupted(&soon(answers.next()).await.unwrap().unwrap_err());
    assert!(soon(answers.next()).await.is_none());
    soon(dropped.cancelled()).await;
}

#[tokio::test]
async fn a_member_that_falls_silent_is_given_up() {
    // Shows that a stream fails when packets are swallowed, with nothing to tell of it, and that
    // the next stream gets a connection of its own.
    let mut member = Listening::anywhere().await;
    let swallowing = CancellationToken::new();
    let relay = relay(member.address, swallowing.clone()).await;
    let link = link_to(&[relay], Purpose::Replication);
    let mut answers = soon(link.append(endless(vec![entry(1)]), PATIENCE)).await.unwrap();
    member.next().await;
    swallowing.cancel();
    let failure = soon(answers.next()).await.unwrap().unwrap_err();
    assert!(matches!(&failure, LinkError::Interrupted(_)), "{failure:?}");

    member.leave.add_permits(100);
    let mut answers = soon(link.append(endless(vec![entry(2)]), PATIENCE)).await.unwrap();
    assert_eq!(matching(&mut answers).await[..], [2]);
}

#[tokio::test]
async fn a_sender_that_vanishes_ends_the_stream_at_the_member() {
    // Shows it for both kinds of streams, when the sender lets go of them.
    let mut member = Listening::anywhere().await;
    let link = member.link(Purpose::Replication);
    let answers = soon(link.append(endless(vec![entry(1)]), PATIENCE)).await.unwrap();
    member.next().await;
    drop(answers);
    soon(member.over.cancelled()).await;

    let member = Listening::anywhere().await;
    member.leave.add_permits(1);
    let link = member.link(Purpose::Snapshot);
    let pieces = stream::iter([piece(1)]).chain(stream::pending()).boxed();
    let sending = tokio::spawn(link.snapshot(pieces));
    until(|| member.received_bytes.load(Ordering::SeqCst) == 1).await;
    sending.abort();
    soon(member.over.cancelled()).await;
}

#[tokio::test]
async fn an_abandoned_stream_does_not_stay_behind_when_the_member_is_stuck() {
    // Shows that requests which wait for a member that does not read are let go of when their
    // answers are, and that the next stream gets through.
    let mut member = Listening::anywhere().await;
    member.reads.forget_permits(usize::MAX);
    let link = member.link(Purpose::Replication);
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let large = stream::repeat_with(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        large_entry()
    });
    let (requests, dropped) = watched(large.boxed());
    let answers = soon(link.append(requests, PATIENCE)).await.unwrap();
    until(|| sent.load(Ordering::SeqCst) >= 4).await;
    drop(answers);
    soon(dropped.cancelled()).await;

    member.reads.add_permits(100);
    member.leave.add_permits(100);
    let mut answers = soon(link.append(endless(vec![entry(7)]), PATIENCE)).await.unwrap();
    assert_eq!(matching(&mut answers).await[..], [7]);
    while member.next().await[..] != [7] {}
}

#[tokio::test]
async fn a_slow_receiver_holds_a_snapshot_back() {
    // Shows that 64 MiB arrive whole, and that less than 8 MiB are ever on their way: of two sides
    // of which one is slow, neither needs more memory than that.
    const PIECE_BYTES: usize = 128 << 10;
    const PIECES: usize = 512;
    let member = Listening::anywhere().await;
    let link = member.link(Purpose::Snapshot);
    let sent = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let pieces = {
        let (sent, most) = (sent.clone(), most.clone());
        let received = member.received_bytes.clone();
        stream::repeat_with(move || {
            let sent = sent.fetch_add(PIECE_BYTES, Ordering::SeqCst) + PIECE_BYTES;
            most.fetch_max(sent - received.load(Ordering::SeqCst), Ordering::SeqCst);
            piece(PIECE_BYTES)
        })
    };
    let sending = tokio::spawn(link.snapshot(pieces.take(PIECES).boxed()));
    until(|| sent.load(Ordering::SeqCst) >= STREAM_WINDOW_BYTES as usize).await;
    for taken in 1..=PIECES {
        member.leave.add_permits(1);
        until(|| member.received_bytes.load(Ordering::SeqCst) >= taken * PIECE_BYTES).await;
    }
    let answer = soon(sending).await.unwrap().unwrap();
    assert!(matches!(answer.answer, Some(Answer::Installed(_))), "{answer:?}");
    assert_eq!(member.received_bytes.load(Ordering::SeqCst), PIECES * PIECE_BYTES);
    let most = most.load(Ordering::SeqCst);
    assert!(most < 8 << 20, "{most} bytes were on their way");
}

/// A way to `address` whose first connection swallows everything after the token was cancelled.
async fn relay(address: SocketAddr, swallowing: CancellationToken) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(address).await.unwrap();
            if kept.is_empty() {
                let copying = copy_bidirectional(&mut near, &mut far);
                swallowing.run_until_cancelled(copying).await;
                kept.push((near, far));
            } else {
                tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
            }
        }
    });
    url
}

fn piece(bytes: usize) -> SnapshotPiece {
    let start = SnapshotStart { envelope: envelope(1), ..Default::default() };
    SnapshotPiece { start: Some(start), data: vec![7; bytes].into() }
}

/// About 1 MiB.
fn large_entry() -> AppendRequest {
    let payload = vec![7; 1 << 20].into();
    let entries = vec![LogEntry { payload, ..Default::default() }];
    AppendRequest { entries, ..entry(0) }
}

/// The same requests, and a token that is cancelled when they are dropped.
fn watched(
    requests: BoxStream<'static, AppendRequest>,
) -> (BoxStream<'static, AppendRequest>, CancellationToken) {
    let dropped = CancellationToken::new();
    let guard = dropped.clone().drop_guard();
    let requests = requests.inspect(move |_| {
        let _until_dropped = &guard;
    });
    (requests.boxed(), dropped)
}
