//! Links to members that listen in the same process, over real sockets.

mod calls;
mod counted;
mod member;
mod reconnect;
mod streams;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use api::berthpb::append_response::Outcome;
use api::berthpb::peer_request::Question;
use api::berthpb::peer_response::Answer;
use api::berthpb::{AppendRequest, Envelope, IdentityQuestion, PeerRequest};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use raft::peer::{Answers, Link, LinkError, Purpose, Route};

use super::*;
use crate::http::Metrics;
use member::Listening;

/// Longer than anything takes here, however slow the machine: a test that waits for so long fails.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("too slow by far")
}

/// Looks again and again until it is so.
async fn until(is_so: impl Fn() -> bool) {
    soon(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

fn link_to(urls: &[String], purpose: Purpose) -> Arc<dyn Link> {
    let metrics = Metrics::new(false).peers(1);
    GrpcTransport::new(Options { metrics, tls: None }).link(Route::to_urls(urls), purpose)
}

fn envelope(cluster_id: u64) -> Option<Envelope> {
    Some(Envelope { cluster_id, from: 1, to: 2, ..Default::default() })
}

/// The member answers it with the same cluster id.
fn question(cluster_id: u64) -> PeerRequest {
    let question = Some(Question::Identity(IdentityQuestion {}));
    PeerRequest { envelope: envelope(cluster_id), question }
}

async fn ask(link: &Arc<dyn Link>, cluster_id: u64) -> Result<u64, LinkError> {
    match link.call(question(cluster_id), PATIENCE).await?.answer.unwrap() {
        Answer::Identity(answer) => Ok(answer.cluster_id),
        other => panic!("{other:?}"),
    }
}

/// The member answers it with the same log id.
fn entry(number: u8) -> AppendRequest {
    AppendRequest {
        envelope: envelope(1),
        prev_log_id: Bytes::copy_from_slice(&[number]),
        ..Default::default()
    }
}

/// Requests that never end, beginning with `first`.
fn endless(first: Vec<AppendRequest>) -> BoxStream<'static, AppendRequest> {
    stream::iter(first).chain(stream::pending()).boxed()
}

async fn matching(answers: &mut Answers) -> Bytes {
    match soon(answers.next()).await.unwrap().unwrap().outcome.unwrap() {
        Outcome::Matching(id) => id,
        other => panic!("{other:?}"),
    }
}

/// Fails unless it is the connection's break that was noticed, rather than a long silence.
#[track_caller]
fn assert_interrupted(failure: &LinkError) {
    match failure {
        LinkError::Interrupted(why) => assert!(!why.contains("timed out"), "{why}"),
        other => panic!("{other:?}"),
    }
}
