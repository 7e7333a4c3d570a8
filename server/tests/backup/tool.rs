//! The command lines that these tests run, and what they compare.

use std::path::{Path, PathBuf};

use api::etcdserverpb::{PutRequest, RangeRequest};
use api::mvccpb::KeyValue;
use testkit::{Clients, Finished, Script, Server, bounded, require};

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

pub(crate) async fn put(clients: &Clients, key: String, value: Vec<u8>, lease: i64) -> i64 {
    let request =
        PutRequest { key: key.into(), value: value.into(), lease, ..PutRequest::default() };
    let answer = bounded(clients.clone().kv.put(request)).await.expect("a put succeeds");
    answer.into_inner().header.expect("a header").revision
}

/// Every key at a revision (0: now), with all that is known of it, and the store's revision.
pub(crate) async fn everything(clients: &Clients, revision: i64) -> (Vec<KeyValue>, i64) {
    let all = RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        revision,
        ..RangeRequest::default()
    };
    let answer = bounded(clients.clone().kv.range(all)).await.expect("a range succeeds");
    let answer = answer.into_inner();
    (answer.kvs, answer.header.expect("a header").revision)
}
