//! A rolling restart, as operators make it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use testkit::{Cluster, Script, require, subject};

use crate::flaws;
use crate::session::Book;
use crate::workload::Load;

const KEY: &str = "official";

/// Proves that restarting all members one after the other fails no request of clients that retry
/// as the official ones do, and of the official one itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_request() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let load = Load::start(&cluster);
    let stop = Arc::new(AtomicBool::new(false));
    let official = tokio::spawn(put_with_etcdctl(
        cluster.endpoints().join(","),
        Arc::clone(&load.book),
        Arc::clone(&stop),
    ));
    for at in 0..cluster.len() {
        load.progress(30).await;
        let status = cluster.member_mut(at).terminate();
        println!("m{} ended with {status}", at + 1);
        load.progress(30).await;
        cluster.member_mut(at).restart().await;
        cluster.leader().await;
    }
    stop.store(true, Ordering::Relaxed);
    let failed = official.await.expect("etcdctl runs");
    assert!(failed.is_empty(), "etcdctl failed {} times: {failed:#?}", failed.len());
    load.assert_unnoticed();
    load.finish(&mut cluster).await;
}

/// Writes with Debian's etcdctl until told to stop, and returns what it complained about.
async fn put_with_etcdctl(
    endpoints: String,
    book: Arc<Book>,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let etcdctl: PathBuf = require("etcdctl", "etcd-client");
    let mut failed = Vec::new();
    let mut number = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let value = format!("etcdctl-{number}");
        book.ledger.attempt(value.as_bytes());
        let arguments = ["--endpoints", &endpoints, "--write-out=json", "put", KEY, &value];
        let script = Script::new(&etcdctl, &arguments).env("ETCDCTL_API", "3");
        let finished = script.run().await;
        if finished.code == Some(0) {
            book.ledger.acknowledge(KEY, revision(&finished.stdout), Some(value.as_bytes()));
        } else if !flaws::excuse(&finished.stderr) {
            failed.push(finished.stderr);
        }
    }
    failed
}

/// The revision in the header of an answer that etcdctl printed as JSON.
fn revision(answer: &str) -> i64 {
    let answer: serde_json::Value = serde_json::from_str(answer).expect("etcdctl prints JSON");
    answer["header"]["revision"].as_i64().expect("every answer has a revision")
}
