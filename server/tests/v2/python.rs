//! Debian's python-etcd: files, conditions, queues, times to live, watches, locks.

use testkit::{Cluster, Place, Program, Script, Server, require, subject};

use crate::side::{FLAGS, port_of};

/// Debian's, where its packages are.
const PYTHON: &str = "/usr/bin/python3";
const RECIPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/v2/recipes.py");

async fn run(endpoints: &[String]) {
    let mut arguments = vec![RECIPES.to_owned()];
    arguments.extend(endpoints.iter().map(|endpoint| port_of(endpoint).to_string()));
    let python = std::path::Path::new(PYTHON);
    if !python.is_file() {
        require("python3", "python3 python3-etcd");
    }
    let finished = Script::new(python, &arguments).run().await;
    let said = (finished.code, finished.stdout.trim_end(), finished.stderr.as_str());
    assert_eq!((said.0, said.1), (Some(0), "done"), "with python3-etcd: {}", said.2);
}

/// Proves that a client which nobody here wrote finds what it expects: of etcd, which proves the
/// script, and of berth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_etcd_works_with_one() {
    let etcd = Server::start(Program::etcd(), FLAGS).await;
    let berth = Server::start(subject!(), FLAGS).await;
    let (etcds, berths) = ([etcd.endpoint()], [berth.endpoint()]);
    tokio::join!(run(&etcds), run(&berths));
}

/// Proves the same of three members, which it chooses from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_etcd_works_with_three() {
    let places = (0..3).map(|_| Place::loopback()).collect();
    let cluster = Cluster::start_with(subject!(), places, FLAGS).await;
    run(&cluster.endpoints()).await;
}
