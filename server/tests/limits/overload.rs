//! More at once than a server can hold: it slows callers down or turns them away, and stays.

use std::sync::Arc;

use api::etcdserverpb::RangeRequest;
use testkit::{Server, bounded, subject};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::Code;

use crate::store::{Outcome, assert_serves, outcome, put_request};

const MIB: usize = 1 << 20;
/// 384 MiB at once: more than the 256 MiB of proposals that berth holds.
const CALLS: usize = 384;
/// One connection's flow control would hold most of the calls back.
const CONNECTIONS: usize = 24;

/// Proves that overload is answered with "too many requests", that what was acknowledged is
/// there, and that the server is well afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_turns_callers_away_and_the_server_stays() {
    let mut server = Server::start(subject!(), &[]).await;
    let answers = put_all_at_once(&server).await;
    let mut refused = 0;
    for (number, answer) in answers.iter().enumerate() {
        if answer.0 == Code::Ok {
            assert_stored(&server, number).await;
        } else {
            let expected = (Code::ResourceExhausted, "etcdserver: too many requests".to_owned());
            assert_eq!(*answer, expected, "call {number}");
            refused += 1;
        }
    }
    assert!(refused < answers.len(), "nothing at all was served");
    println!("{:?}: {refused} of {} calls refused", server.program.kind, answers.len());
    assert_serves(&mut server).await;
}

async fn put_all_at_once(server: &Server) -> Vec<Outcome> {
    let start = Arc::new(Barrier::new(CALLS));
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| server.clients()).collect();
    let value = bytes::Bytes::from(vec![b'x'; MIB]);
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let (mut kv, start) = (connections[number % CONNECTIONS].kv.clone(), Arc::clone(&start));
        let request = put_request(&format!("overload/{number}"), value.clone());
        calls.spawn(async move {
            start.wait().await;
            (number, outcome(bounded(kv.put(request)).await))
        });
    }
    let mut answers = calls.join_all().await;
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn assert_stored(server: &Server, number: usize) {
    let request = RangeRequest {
        key: format!("overload/{number}").into(),
        count_only: true,
        ..Default::default()
    };
    let answer = bounded(server.clients().kv.range(request)).await.expect("reads go on");
    assert_eq!(answer.into_inner().count, 1, "call {number} was acknowledged");
}
