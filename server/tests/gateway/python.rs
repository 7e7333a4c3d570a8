//! A client that others wrote, on this gateway: Python's `etcd3gw`, as Debian has it.

use std::path::Path;

use testkit::{Kind, Program, Script, Server, subject};

/// What Debian's packages are installed for.
const PYTHON: &str = "/usr/bin/python3";

const V3: &str = "/v3/";

async fn session(program: Program, path: &str) -> String {
    let server = Server::start(program, &[]).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/etcd3gw_session.py");
    let port = server.client_port.to_string();
    let done = Script::new(Path::new(PYTHON), &[script, &port, path]).run().await;
    let told = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(0), "is Debian's python3-etcd3gw installed?\n{told}");
    done.stdout
}

/// Proves that etcd3gw does with the subject all that it does with etcd: keys, transactions, leases,
/// watches, locks; and prints the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd3gw_works_as_with_etcd() {
    let (theirs, ours) = tokio::join!(session(Program::etcd(), V3), session(subject!(), V3));
    assert_eq!(ours, theirs);
    assert!(ours.ends_with("done\n"), "{ours}");
    // What it takes unless it is told otherwise; etcd 3.4 has dropped it.
    if subject!().kind == Kind::Berth {
        assert_eq!(session(subject!(), "/v3alpha/").await, theirs);
    }
}
