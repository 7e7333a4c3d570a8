//! Who may read what is on disk.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use api::etcdserverpb::PutRequest;
use testkit::{Finished, Kind, Program, Script, Server, bounded, eventually};

use crate::server::{BERTH, Place};

/// Enough for more than one segment of the log, and for a snapshot.
const PUTS: usize = 72;
const VALUE_BYTES: usize = 1 << 20;
const PATIENCE_S: u64 = 60;

/// Berth, started by somebody who lets everybody read and write all files.
fn careless(dir: &Path) -> Program {
    let path = dir.join("careless");
    fs::write(&path, format!("#!/bin/sh\numask 000\nexec '{BERTH}' \"$@\"\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    Program { kind: Kind::Berth, path }
}

async fn run(program: &Program, args: &[&str]) -> Finished {
    let finished = Script::new(&program.path, args).run().await;
    assert_eq!(finished.code, Some(0), "{args:?}: {finished:?}");
    finished
}

/// Everything under `path`, itself included, that others than its owner may touch.
fn exposed(path: &Path) -> Vec<String> {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mode = metadata.permissions().mode() & 0o7777;
    let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
    let mut found = Vec::new();
    if mode != expected {
        found.push(format!("{}: {mode:o}", path.display()));
    }
    if metadata.is_dir() {
        found.extend(names(path).iter().flat_map(|name| exposed(&path.join(name))));
    }
    found
}

fn names(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into()).collect()
}

async fn fill(server: &Server) {
    let mut clients = server.clients();
    for number in 0..PUTS {
        let put = PutRequest {
            key: format!("k{number}").into(),
            value: vec![b'v'; VALUE_BYTES].into(),
            ..PutRequest::default()
        };
        bounded(clients.kv.put(put)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_for_its_owner_alone() {
    // Shows that with umask 000 segments of the log, snapshots, the engine's files, backups, what is
    // made of them and what is restored from them have mode 0600, and directories 0700.
    let temp = tempfile::tempdir().unwrap();
    let program = careless(temp.path());
    let mut server = Server::start(program.clone(), &[]).await;
    fill(&server).await;
    let data = server.data_dir();
    eventually("a snapshot and a second segment are there", PATIENCE_S, async || {
        match (names(&data.join("snap")).len(), names(&data.join("wal")).len()) {
            (1.., 2..) => Ok(()),
            counts => Err(format!("{counts:?}")),
        }
    })
    .await;
    assert!(data.join("db").is_dir());

    let file = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let (saved, exported, imported) = (file("saved"), file("exported"), file("imported"));
    // What somebody else has put there is not written into.
    fs::write(file("saved.part"), "").unwrap();
    fs::set_permissions(file("saved.part"), Permissions::from_mode(0o666)).unwrap();
    let endpoints = format!("--endpoints={}", server.endpoint());
    run(&program, &["ctl", &endpoints, "snapshot", "save", &saved]).await;
    run(&program, &["snapshot", "export", &saved, "--format=etcd", "--out", &exported]).await;
    run(&program, &["snapshot", "import", &exported, "--out", &imported]).await;
    server.terminate();
    assert_eq!(exposed(&data), [""; 0]);

    let mut restored = Server::create(program.clone(), &[]);
    let peer = format!("http://127.0.0.1:{}", restored.peer_port);
    let into = restored.data_dir();
    let args = [
        "snapshot",
        "restore",
        &imported,
        &format!("--data-dir={}", into.display()),
        &format!("--initial-cluster=default={peer}"),
        &format!("--initial-advertise-peer-urls={peer}"),
    ];
    run(&program, &args).await;
    assert_eq!(exposed(&into), [""; 0]);
    restored.restart().await;
    for path in [into, saved.into(), exported.into(), imported.into()] {
        assert_eq!(exposed(&path), [""; 0]);
    }
}

#[test]
fn certificates_of_ones_own_making_are_no_exception() {
    // Shows that a first start that makes certificates leaves directories and files as private.
    let place = Place::new();
    let program = careless(place.dir.path());
    let peer = format!("https://127.0.0.1:{}", place.peer);
    let flags = [
        "--auto-tls".to_owned(),
        "--peer-auto-tls".to_owned(),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ];
    let mut server = place.start(&program, &flags);
    assert!(place.path("data/fixtures/peer/key.pem").is_file());
    assert_eq!(exposed(&place.path("data")), [""; 0]);
    assert!(!server.log().contains("others may read this directory"), "{}", server.log());
}
