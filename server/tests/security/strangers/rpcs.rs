//! Every RPC of every service at the client address.

use std::collections::{BTreeMap, BTreeSet};

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use prost::Message;
use testkit::{Program, bounded, with_token};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;

use super::planted::{KEY, Planted, VALUE};
use super::questions::question;
use super::raw::{Answer, Method, ask, channel, methods};
use crate::server::berth;

/// Where the services are put together.
const ROUTES: &str = include_str!("../../../src/grpc/mod.rs");

/// Services of libraries, whose `.proto` files are not ours.
const LIBRARIES: [(&str, bool); 4] = [
    ("/grpc.health.v1.Health/Check", false),
    ("/grpc.health.v1.Health/Watch", true),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", true),
];

/// What anybody is told, with auth on; SECURITY.md lists it.
const OPEN: [&str; 4] =
    ["Auth/AuthStatus", "Health/Check", "Health/Watch", "ServerReflection/ServerReflectionInfo"];

/// What etcd 3.4 answers to strangers and berth refuses them, most of it as etcd 3.7 does.
const OPEN_IN_OLD_ETCD: [&str; 11] = [
    "Auth/AuthDisable",
    "Cluster/MemberList",
    // It ends without a word.
    "Election/Observe",
    "KV/Compact",
    "Lease/LeaseGrant",
    "Lease/LeaseKeepAlive",
    "Lease/LeaseLeases",
    "Lease/LeaseTimeToLive",
    "Maintenance/Alarm",
    "Maintenance/MoveLeader",
    "Maintenance/Status",
];

/// Asked last, for in etcd 3.4 they change what the others answer.
const LAST: [&str; 2] = ["Maintenance/Alarm", "Auth/AuthDisable"];

/// Who asks: a name, and what is in the metadata.
type Caller = (&'static str, Vec<(&'static str, String)>);

fn all_methods() -> Vec<Method> {
    let packages = ["etcdserverpb", "v3lockpb", "v3electionpb"];
    let mut all: Vec<_> = packages.iter().flat_map(|package| methods("etcd", package)).collect();
    let libraries = LIBRARIES.map(|(path, goes_on)| Method { path: path.to_owned(), goes_on });
    all.extend(libraries);
    all.sort_by_key(|method| LAST.iter().position(|last| method.path.ends_with(last)));
    all
}

fn callers() -> Vec<Caller> {
    let forged = || "AAAAAAAAAAAAAAAA.1".to_owned();
    vec![
        ("no token", vec![]),
        ("a bad token", vec![("token", "nonsense".to_owned())]),
        ("a forged token", vec![("token", forged())]),
        ("a forged bearer", vec![("authorization", format!("Bearer {}", forged()))]),
        ("an empty token", vec![("token", String::new())]),
        // `root`, as the server itself writes the name of a certificate's holder.
        ("a forged certificate", vec![("berth-common-name", "cm9vdA==".to_owned())]),
        ("a forged gateway", vec![("grpcgateway-accept", "application/json".to_owned())]),
    ]
}

/// How a call ended: its code and words. A watch is refused by a message.
type Ending = (Code, String);

fn ending(method: &Method, answer: &Answer) -> Ending {
    if method.path.ends_with("Watch/Watch")
        && let Ok(told) = WatchResponse::decode(answer.bytes.as_slice())
        && told.canceled
    {
        return (Code::Cancelled, told.cancel_reason);
    }
    (answer.code, answer.words.clone())
}

/// What each method says to `caller`.
async fn ask_all(planted: &Planted, caller: &Caller) -> BTreeMap<String, (Ending, Answer)> {
    let channel = channel(&planted.server.endpoint());
    let mut all = BTreeMap::new();
    for method in all_methods() {
        let short = method.path.rsplit_once('.').unwrap().1;
        let message = question(short)
            .unwrap_or_else(|| panic!("say in questions.rs what a stranger asks of {short}"));
        let answer = ask(&channel, &method, message, &caller.1).await;
        all.insert(short.to_owned(), (ending(&method, &answer), answer));
    }
    all
}

fn is_refusal((code, words): &Ending) -> bool {
    let reasons = ["user name is empty", "invalid auth token", "authentication failed"];
    *code != Code::Ok && reasons.iter().any(|reason| words.contains(reason))
}

/// How the two answers to a stranger stand to each other.
#[derive(Debug, PartialEq, Eq)]
enum Relation {
    Same,
    /// Both refuse.
    OtherWords,
    /// Etcd 3.4 has no such method.
    Later,
    /// Etcd answers.
    Stricter,
    Looser,
}

fn relation(ours: &Ending, theirs: &Ending) -> Relation {
    match (is_refusal(ours), is_refusal(theirs)) {
        _ if ours == theirs => Relation::Same,
        _ if theirs.0 == Code::Unimplemented => Relation::Later,
        (true, true) => Relation::OtherWords,
        (true, false) => Relation::Stricter,
        (false, _) => Relation::Looser,
    }
}

#[test]
fn every_service_is_asked() {
    // Shows that as many services are asked as the server registers.
    let services: BTreeSet<String> = all_methods()
        .iter()
        .map(|method| method.path.rsplit_once('/').unwrap().0.to_owned())
        .collect();
    assert_eq!(ROUTES.matches(".add_service(").count(), services.len(), "{services:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_nothing_from_any_rpc() {
    // Shows that every RPC, but for those that are open to anybody, refuses whoever has no token or
    // a bad one; that no answer holds anything that was planted; and that nothing was changed.
    let planted = Planted::new(berth()).await;
    let before = planted.contents().await;
    for caller in callers() {
        for (method, (ending, answer)) in ask_all(&planted, &caller).await {
            let open = OPEN.contains(&method.as_str());
            assert!(open || is_refusal(&ending), "{method} with {}: {answer:?}", caller.0);
            let found = planted.found_in(&answer.everything());
            assert_eq!(found, None, "{method} with {}: {answer:?}", caller.0);
        }
    }
    assert_eq!(planted.contents().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_open_that_is_closed_in_etcd() {
    // Shows, method by method, that a stranger is told as little as by etcd, and which methods tell
    // less; that what was planted would have been found, for etcd 3.4 gives some of it away.
    let mut stricter = BTreeSet::new();
    let mut given_away = 0;
    for caller in callers().into_iter().take(3) {
        let (ours, theirs) = (Planted::new(berth()).await, Planted::new(Program::etcd()).await);
        let mut theirs_said = ask_all(&theirs, &caller).await;
        for (method, (our_ending, _)) in ask_all(&ours, &caller).await {
            let (their_ending, their_answer) = theirs_said.remove(&method).unwrap();
            let relation = relation(&our_ending, &their_ending);
            let what = format!("{method} with {}: {our_ending:?}, {their_ending:?}", caller.0);
            assert_ne!(relation, Relation::Looser, "{what}");
            if relation == Relation::Stricter {
                stricter.insert(method);
            }
            given_away += usize::from(theirs.found_in(&their_answer.everything()).is_some());
        }
    }
    assert_eq!(stricter, OPEN_IN_OLD_ETCD.map(str::to_owned).into());
    assert!(given_away > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_does_not_stop_others_from_writing() {
    // Shows that a write past the quota is refused as by etcd, and raises the alarm that stops all
    // writes for a user alone.
    let flags = ["--quota-backend-bytes=1000000"];
    let planted = Planted::with_flags(berth(), &flags).await;
    let mut clients = planted.server.clients();
    let token = Some(planted.token.as_str());
    let mut put = async |value: usize, token| {
        let value = vec![b'v'; value].into();
        let put = PutRequest { key: KEY.into(), value, ..PutRequest::default() };
        let done = bounded(clients.kv.put(with_token(put, token))).await;
        done.map(drop).map_err(|status| status.code())
    };
    for stranger in [None, Some("nonsense")] {
        assert_eq!(put(1_200_000, stranger).await, Err(Code::ResourceExhausted));
        assert_eq!(put(1, token).await, Ok(()));
    }
    assert_eq!(put(1_200_000, token).await, Err(Code::ResourceExhausted));
    assert_eq!(put(1, token).await, Err(Code::ResourceExhausted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_watch_stays_silent() {
    // Shows that the stream on which a watch was refused tells nothing of a write that another
    // watch has seen: the refusal of a second one is all that comes after it.
    let planted = Planted::new(berth()).await;
    let mut clients = planted.server.clients();
    let (mut stranger, mut own) = (clients.watch.clone(), clients.watch.clone());
    let (asking, asked) = mpsc::unbounded_channel();
    asking.send(watch_everything()).unwrap();
    let opened = stranger.watch(UnboundedReceiverStream::new(asked));
    let mut told = bounded(opened).await.unwrap().into_inner();
    let refused = bounded(told.message()).await.unwrap().unwrap();
    assert!(refused.canceled, "{refused:?}");

    let requests = tokio_stream::iter([watch_everything()]).chain(tokio_stream::pending());
    let opened = own.watch(with_token(requests, Some(&planted.token)));
    let mut seen = bounded(opened).await.unwrap().into_inner();
    let created = bounded(seen.message()).await.unwrap().unwrap();
    assert!(created.created && !created.canceled, "{created:?}");
    let put = PutRequest { key: KEY.into(), value: VALUE.into(), ..PutRequest::default() };
    bounded(clients.kv.put(with_token(put, Some(&planted.token)))).await.unwrap();
    let event = bounded(seen.message()).await.unwrap().unwrap();
    assert_eq!(event.events.len(), 1, "{event:?}");

    asking.send(watch_everything()).unwrap();
    let next = bounded(told.message()).await.unwrap().unwrap();
    assert!(next.canceled && next.events.is_empty(), "{next:?}");
}

fn watch_everything() -> WatchRequest {
    let all = WatchCreateRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        ..WatchCreateRequest::default()
    };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(all)) }
}
