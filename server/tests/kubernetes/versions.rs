//! What clients switch on by the version that the server reports: docs/clients.md lists it, and each
//! line of it is tested here.

use std::path::Path;

use api::etcdserverpb::{
    HashKvRequest, MemberAddRequest, StatusRequest, StatusResponse, TxnRequest, WatchCreateRequest,
};
use testkit::{Kind, Program, Script, Server, bounded, require, subject};
use tonic::Code;

use crate::calls::{create, pod, pods, put, range};
use crate::watching::Watch;

/// berth, or nothing: Debian's etcd reports a version without most of this.
async fn berth() -> Option<Server> {
    let program = subject!();
    if program.kind == Kind::Etcd {
        return None;
    }
    Some(Server::start(program, &["--bcrypt-cost=4"]).await)
}

async fn status(server: &Server) -> StatusResponse {
    let status = server.clients().maintenance.status(StatusRequest {}).await;
    status.unwrap().into_inner()
}

fn parsed(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap()).collect()
}

async fn page(server: &Server, path: &str) -> (i32, String) {
    let url = format!("{}{path}", server.endpoint());
    let curl = require("curl", "curl");
    let args = ["--silent", "--show-error", "--write-out", "\n%{http_code}", &url];
    let said = Script::new(Path::new(&curl), &args).run().await;
    let (body, code) = said.stdout.rsplit_once('\n').expect("curl says the status");
    (code.parse().unwrap(), body.to_owned())
}

/// Proves that the version is the same wherever it is asked for, and new enough for each client that
/// has a least one: kube-apiserver's progress requests (3.5.13), APISIX (cluster 3.4.0), Patroni (3.4
/// for `/v3`, cluster 3.3 for users), and Go clients that reject old clusters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_is_one_and_new_enough() {
    let Some(server) = berth().await else { return };
    let told = status(&server).await;
    assert!(parsed(&told.version) >= parsed("3.5.13"), "{}", told.version);
    let (code, body) = page(&server, "/version").await;
    assert_eq!(code, 200);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["etcdserver"], told.version.as_str());
    let cluster = body["etcdcluster"].as_str().unwrap();
    assert!(parsed(cluster) >= parsed("3.4.0"), "{cluster}");
    assert_eq!(parsed(cluster)[..2], parsed(&told.version)[..2]);
}

/// Proves kube-apiserver's consistent reads from its cache: what a progress answer says has come has
/// come before it, under writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_never_runs_ahead_of_events() {
    let Some(server) = berth().await else { return };
    let clients = server.clients();
    let mut watch = Watch::pods(&clients, 0).await;
    let writer = {
        let clients = server.clients();
        tokio::spawn(async move {
            for number in 0..300 {
                create(&clients, &pod(&format!("w{number}")), "v", 0).await;
            }
        })
    };
    // Each write takes one revision, and the first is 2.
    let (mut events, mut reached) = (0, 0);
    while events < 300 || reached < 301 {
        watch.ask_progress().await;
        let answer = watch.next().await;
        let revision = answer.header.unwrap().revision;
        if answer.created {
            continue;
        }
        if answer.events.is_empty() {
            assert!(
                revision <= events + 1,
                "{revision} is said to have come after {events} events"
            );
            reached = reached.max(revision);
        }
        for event in answer.events {
            events += 1;
            assert_eq!(event.kv.unwrap().mod_revision, events + 1);
        }
    }
    bounded(writer).await.unwrap();
}

/// Proves that lists by `RangeStream`, which kube-apiserver tries without asking, are those of
/// `Range`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_list_is_the_list() {
    let Some(server) = berth().await else { return };
    let clients = server.clients();
    for number in 0..500 {
        create(&clients, &pod(&number.to_string()), "v", 0).await;
    }
    let whole = range(&clients, pods()).await;
    let mut parts = bounded(clients.kv.clone().range_stream(pods())).await.unwrap().into_inner();
    let (mut kvs, mut count, mut revision) = (Vec::new(), 0, 0);
    while let Some(part) = bounded(parts.message()).await.unwrap() {
        let response = part.range_response.unwrap_or_default();
        count = count.max(response.count);
        revision = response.header.map_or(revision, |header| header.revision);
        kvs.extend(response.kvs);
    }
    assert_eq!((kvs, count), (whole.kvs, whole.count));
    assert_eq!(revision, whole.header.unwrap().revision);
}

/// Proves that the health pages are there which kubeadm asks a server of at least 3.5.11 for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_has_the_pages_of_its_version() {
    let Some(server) = berth().await else { return };
    for path in ["/livez", "/readyz", "/health?serializable=true", "/readyz?exclude=non_learner"] {
        assert_eq!(page(&server, path).await.0, 200, "{path}");
    }
    let (_, verbose) = page(&server, "/readyz?verbose").await;
    assert!(verbose.contains("[+]linearizable_read ok"), "{verbose}");
}

/// The answers that a watch of `big/` gets for one revision: how many events, and whether there is
/// more of it.
async fn parts_of_a_large_revision(server: &Server, fragment: bool) -> Vec<(usize, bool)> {
    const KEYS: usize = 3;
    let clients = server.clients();
    let create = WatchCreateRequest {
        key: "big/".into(),
        range_end: "big0".into(),
        prev_kv: true,
        fragment,
        ..Default::default()
    };
    let mut watch = Watch::of(&clients, create).await;
    assert!(watch.next().await.created);
    // Each is below the limit for requests; with what was there before the second is above.
    let value = "v".repeat(400 << 10);
    let success = (0..KEYS).map(|number| put(&format!("big/{number}"), &value, 0));
    let write = TxnRequest { success: success.collect(), ..Default::default() };
    let mut last = Vec::new();
    for _ in 0..2 {
        bounded(clients.kv.clone().txn(write.clone())).await.unwrap();
        last.clear();
        while last.iter().map(|(events, _)| events).sum::<usize>() < KEYS {
            let answer = watch.next().await;
            last.push((answer.events.len(), answer.fragment));
        }
    }
    last
}

/// Proves that a large revision comes in parts to who asked for that, all but the last saying that
/// there is more, and as a whole to others; as from etcd.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_revisions_come_in_fragments() {
    let etcd = Server::start(Program::etcd(), &[]).await;
    let subject = Server::start(subject!(), &[]).await;
    for server in [&etcd, &subject] {
        assert_eq!(parts_of_a_large_revision(server, false).await, [(3, false)]);
        let parts = parts_of_a_large_revision(server, true).await;
        assert!(parts.len() > 1, "{parts:?}");
        let more: Vec<bool> = parts.iter().map(|(_, more)| *more).collect();
        let (last, others) = more.split_last().expect("there are parts");
        assert!(!last && others.iter().all(|more| *more), "{parts:?}");
    }
}

/// Proves what came with 3.4, 3.5 and 3.6 and is used without asking: learners, hashes of keys at a
/// revision, and what a status tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_calls_are_served() {
    let Some(server) = berth().await else { return };
    let clients = server.clients();
    let told = status(&server).await;
    assert!(told.db_size_in_use > 0 && !told.is_learner && told.errors.is_empty(), "{told:?}");
    assert_eq!(told.storage_version, "3.7.0");
    assert!(told.db_size_quota > 0);

    let hash = HashKvRequest { revision: 1 };
    let hash = bounded(clients.maintenance.clone().hash_kv(hash)).await.unwrap().into_inner();
    assert_eq!(hash.hash_revision, 1);

    let peer_urls = vec!["http://127.0.0.1:1".to_owned()];
    let learner = MemberAddRequest { peer_urls, is_learner: true };
    let added = bounded(clients.cluster.clone().member_add(learner)).await.unwrap().into_inner();
    assert!(added.member.unwrap().is_learner);
    let another =
        MemberAddRequest { peer_urls: vec!["http://127.0.0.1:2".into()], is_learner: true };
    let refused = bounded(clients.cluster.clone().member_add(another)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}
