//! Clients that others wrote, on this gateway: Python's `etcd3gw`, Patroni and curl, as Debian has them.

use std::path::Path;

use testkit::{Cluster, Kind, Program, Script, Server, require, subject};

/// What Debian's packages are installed for.
const PYTHON: &str = "/usr/bin/python3";

const V3: &str = "/v3/";

async fn session(program: Program, path: &str) -> String {
    let server = Server::start(program, &[]).await;
    session_at(&server.endpoint(), path).await
}

async fn session_at(endpoint: &str, path: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/etcd3gw_session.py");
    let port = endpoint.rsplit(':').next().unwrap();
    let done = Script::new(Path::new(PYTHON), &[script, port, path]).run().await;
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

/// Proves the same of a member that does not lead, of three.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd3gw_works_with_any_of_three_members() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let leader = cluster.leader().await;
    let follower = cluster.member(cluster.others(leader)[0]).endpoint();
    let told = session_at(&follower, V3).await;
    assert!(told.contains("status True 3") && told.ends_with("done\n"), "{told}");
}

/// Proves that curl's own headers do no harm: a refusal has its status, and a watch is followed line by
/// line. (What the documentation writes is run by `documented`.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_works() {
    let server = Server::start(subject!(), &[]).await;
    let curl = require("curl", "curl");
    let run = |path: &str, body: &str, more: &[&str]| {
        let url = format!("{}{path}", server.endpoint());
        Script::new(&curl, &[more, &["--silent", "--show-error", &url, "-d", body]].concat())
    };
    let put = run("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#, &[]).run().await;
    assert!(put.stdout.contains(r#""revision":"2""#), "{put:?}");
    let code = ["--write-out", " %{http_code}"];
    let refused = run("/v3/kv/range", "{", &code).run().await;
    assert!(refused.stdout.ends_with(" 400"), "{refused:?}");
    let watch = r#"{"create_request":{"key":"Zm9v","start_revision":"2"}}"#;
    let watched = run("/v3/watch", watch, &["-N"]).until(r#""value":"YmFy""#).run().await;
    assert!(watched.stdout.contains(r#""created":true"#), "{watched:?}");
}

/// Longer than all that the session waits for.
const PATRONI_S_MAX: u64 = 600;

/// Proves that Patroni elects a PostgreSQL leader on three members, has another within its time to
/// live when that is killed together with the store's own leader, and takes the first one back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patroni_elects_loses_and_elects_again() {
    require("patroni", "patroni");
    let mut cluster = Cluster::start(subject!(), 3).await;
    let hosts: Vec<String> = cluster
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.trim_start_matches("http://").to_owned())
        .collect();
    let leader = cluster.leader().await;
    let pid = cluster.member(leader).pid().expect("the leader runs").to_string();
    let session = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/patroni_session.py");
    let script = Script::new(Path::new(PYTHON), &[session, &hosts.join(",")]);
    let done = script.env("KILL_PID", &pid).limit_s(PATRONI_S_MAX).run().await;
    println!("{}", done.stdout);
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
}
