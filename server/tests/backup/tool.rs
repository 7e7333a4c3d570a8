//! The command lines that these tests run, and what they compare.

use std::path::{Path, PathBuf};

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    PutRequest, RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse,
};
use api::mvccpb::KeyValue;
use api::mvccpb::event::EventType;
use futures::StreamExt;
use testkit::{Clients, Finished, Script, Server, bounded, require};
use tonic::{Response, Status, Streaming};

/// Both ways to the commands for backup files: as etcdutl has them, and as etcdctl.
pub(crate) const TOOLS: [&[&str]; 2] = [&["snapshot"], &["ctl", "snapshot"]];

/// Runs `berth ARGS` to its end.
pub(crate) async fn berth<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Finished {
    Script::new(Path::new(env!("CARGO_BIN_EXE_berth")), args).run().await
}

/// Runs Debian's etcdctl against `server`.
pub(crate) async fn etcdctl(server: &Server, args: &[&str]) -> Finished {
    let endpoint = format!("--endpoints={}", server.endpoint());
    let args: Vec<&str> = [endpoint.as_str()].iter().chain(args).copied().collect();
    Script::new(&require("etcdctl", "etcd-client"), &args).env("ETCDCTL_API", "3").run().await
}

/// Saves a backup of `server` with Debian's etcdctl.
pub(crate) async fn save(server: &Server, dir: &Path) -> PathBuf {
    let file = dir.join("backup");
    let saved = etcdctl(server, &["snapshot", "save", &file.to_string_lossy()]).await;
    assert_eq!(saved.code, Some(0), "{saved:?}");
    file
}

/// `berth snapshot restore` of a member alone that is `server`, not yet started.
pub(crate) fn restore_args(file: &Path, server: &Server) -> Vec<String> {
    let peer = format!("http://127.0.0.1:{}", server.peer_port);
    vec![
        "snapshot".into(),
        "restore".into(),
        file.display().to_string(),
        format!("--data-dir={}", server.data_dir().display()),
        format!("--initial-cluster=default={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
    ]
}

/// The cluster flags of `at` in a cluster of all `members`, by the names m0, m1...
pub(crate) fn cluster_flags(members: &[Server], at: usize) -> Vec<String> {
    let url = |server: &Server| format!("http://127.0.0.1:{}", server.peer_port);
    let entry = |(at, server)| format!("m{at}={}", url(server));
    let entries: Vec<String> = members.iter().enumerate().map(entry).collect();
    vec![
        format!("--name=m{at}"),
        format!("--initial-cluster={}", entries.join(",")),
        "--initial-cluster-token=restored".to_owned(),
        format!("--initial-advertise-peer-urls={}", url(&members[at])),
    ]
}

/// The answer to a call that must succeed.
pub(crate) async fn done<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> T {
    bounded(call).await.expect("the server accepts the call").into_inner()
}

pub(crate) async fn put(clients: &Clients, key: String, value: Vec<u8>, lease: i64) -> i64 {
    let request =
        PutRequest { key: key.into(), value: value.into(), lease, ..PutRequest::default() };
    done(clients.clone().kv.put(request)).await.header.expect("a header").revision
}

/// Every key at a revision (0: now), with all that is known of it, and the store's revision.
pub(crate) async fn everything(clients: &Clients, revision: i64) -> (Vec<KeyValue>, i64) {
    let all = RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        revision,
        ..RangeRequest::default()
    };
    let answer = done(clients.clone().kv.range(all)).await;
    (answer.kvs, answer.header.expect("a header").revision)
}

/// The first `count` events from `revision` on: revision, key, whether it is a put.
pub(crate) async fn watch_from(
    clients: &Clients,
    revision: i64,
    count: usize,
) -> Vec<(i64, String, bool)> {
    let mut answers = watch(clients, vec![0], revision).await;
    let mut events = Vec::new();
    while events.len() < count {
        let answer = bounded(answers.message()).await.expect("no error").expect("no end");
        events.extend(answer.events.iter().map(|event| {
            let kv = event.kv.clone().expect("an event has a key");
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            (kv.mod_revision, key, event.r#type() == EventType::Put)
        }));
    }
    events
}

/// A watch from `revision` on, of one key or (`[0]`) of all.
pub(crate) async fn watch(
    clients: &Clients,
    key: Vec<u8>,
    revision: i64,
) -> Streaming<WatchResponse> {
    let range_end = if key == [0] { vec![0] } else { Vec::new() };
    let create = WatchCreateRequest {
        key: key.into(),
        range_end: range_end.into(),
        start_revision: revision,
        ..WatchCreateRequest::default()
    };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    // Without an end: the watch lasts as long as its requests.
    let requests = futures::stream::iter([request]).chain(futures::stream::pending());
    done(clients.clone().watch.watch(requests)).await
}
