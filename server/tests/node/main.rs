//! Node's `etcd3` client: its leases, locks, elections, and watchers that survive a restart. On one
//! server, and on three whose leader goes away.
//!
//! What is installed is pinned by `package-lock.json`. Without the registry nothing is tested, and
//! that is said.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use std::path::{Path, PathBuf};

use testkit::{Cluster, Dialogue, Script, Server, require, skipped, subject};
use tokio::process::Command;
use tokio::sync::OnceCell;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node");

/// Where the packages are; installed once for all tests of this program, and for its next runs.
async fn packages() -> Result<PathBuf, String> {
    static INSTALLED: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    INSTALLED.get_or_init(install).await.clone()
}

async fn install() -> Result<PathBuf, String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node-clients");
    let lock = |dir: &Path| std::fs::read(dir.join("package-lock.json")).ok();
    let modules = dir.join("node_modules");
    if lock(&dir) == lock(Path::new(HERE)) && modules.join("etcd3").is_dir() {
        return Ok(modules);
    }
    std::fs::create_dir_all(&dir).unwrap();
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(Path::new(HERE).join(file), dir.join(file)).unwrap();
    }
    let npm = require("npm", "npm");
    let directory = dir.display().to_string();
    // No package may run anything while it is installed.
    let args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", &directory];
    let npm = Script::new(&npm, &args).env("npm_config_update_notifier", "false");
    // It would go on trying for minutes.
    let npm = npm.env("npm_config_fetch_retries", "1").env("npm_config_fetch_timeout", "15000");
    let done = npm.run().await;
    if done.code == Some(0) { Ok(modules) } else { Err(done.stderr) }
}

fn client(packages: &Path, endpoints: &[String]) -> Dialogue {
    let mut node = Command::new(require("node", "nodejs"));
    node.arg(Path::new(HERE).join("client.js")).args(endpoints).env("NODE_CLIENTS", packages);
    Dialogue::start(node)
}

/// Proves that the recipes of the client hold on one server, and that its watcher goes on where it
/// was when the server comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_server() {
    let packages = match packages().await {
        Ok(packages) => packages,
        Err(why) => return skipped("Node's etcd3 on one server", &why),
    };
    let mut server = Server::start(subject!(), &[]).await;
    let mut client = client(&packages, &[server.endpoint()]);
    client.wants_a_restart().await;
    server.kill();
    server.restart().await;
    client.goes_on_to_its_end().await;
}

/// Proves the same on three members, while their leader, on which the watch is, goes away and comes
/// back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_three_servers() {
    let packages = match packages().await {
        Ok(packages) => packages,
        Err(why) => return skipped("Node's etcd3 on three servers", &why),
    };
    let mut cluster = Cluster::start(subject!(), 3).await;
    let leader = cluster.leader().await;
    // The one that goes away is the one that is watched.
    let mut endpoints = cluster.endpoints();
    endpoints.swap(0, leader);
    let mut client = client(&packages, &endpoints);
    client.wants_a_restart().await;
    cluster.member_mut(leader).kill();
    cluster.member_mut(leader).launch();
    cluster.member_mut(leader).wait_serving().await;
    client.goes_on_to_its_end().await;
}
