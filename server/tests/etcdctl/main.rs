//! Debian's etcdctl runs the same scripts against etcd and against berth, and `berth ctl` runs
//! them against berth: whoever reads the output cannot tell which of them ran.
//!
//! The scripts are in `cases`, one command per line. `BERTH_TEST_SUBJECT=etcd` puts etcd in
//! berth's place, which proves the harness.

mod cases;
mod check;
mod client;
mod normal;
mod transcript;

use cases::SCRIPTS;
use client::Client;
use testkit::{Program, Server, subject};
use transcript::{Transcript, differences, record};

/// Proves that etcdctl prints the same whether it talks to etcd or to berth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_prints_the_same_with_either_server() {
    let mut all = Vec::new();
    for script in SCRIPTS {
        let expected = fresh(Program::etcd(), &Client::etcdctl(), script).await;
        let actual = fresh(subject!(), &Client::etcdctl(), script).await;
        all.extend(differences(script.name, ("etcd", &expected), ("subject", &actual)));
    }
    assert!(all.is_empty(), "{} commands differ\n\n{}", all.len(), all.join("\n"));
}

/// Proves that `berth ctl` prints what etcdctl prints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn berth_ctl_prints_what_etcdctl_prints() {
    let ctl = Client::berth(env!("CARGO_BIN_EXE_berth"));
    let mut all = Vec::new();
    for script in SCRIPTS {
        let expected = fresh(subject!(), &Client::etcdctl(), script).await;
        let actual = fresh(subject!(), &ctl, script).await;
        all.extend(differences(script.name, ("etcdctl", &expected), ("berth ctl", &actual)));
    }
    assert!(all.is_empty(), "{} commands differ\n\n{}", all.len(), all.join("\n"));
}

/// Runs a script on a server of its own.
async fn fresh(program: Program, client: &Client, script: &cases::Script) -> Transcript {
    let server = Server::start(program, &["--bcrypt-cost=4"]).await;
    record(client, &server, script.cases).await
}
