//! Node's `etcd3` client: its leases, locks, elections, and watchers that survive a restart. On one
//! server, and on three whose leader goes away.
//!
//! What is installed is pinned by `package-lock.json`. Without the registry nothing is tested, and
//! that is said.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use testkit::{Cluster, Script, Server, require, skipped, subject};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// Longer than everything that the client waits for, on a busy machine.
const CLIENT_MAX: Duration = Duration::from_secs(180);
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

/// The client, and what it has said so far.
struct Client {
    child: Child,
    said: BufReader<tokio::process::ChildStdout>,
}

impl Client {
    fn start(packages: &Path, endpoints: &[String]) -> Self {
        let mut child = Command::new(require("node", "nodejs"))
            .arg(Path::new(HERE).join("client.js"))
            .args(endpoints)
            .env("NODE_CLIENTS", packages)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// Reads until it says `word`.
    async fn until(&mut self, word: &str) {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            let read = timeout(CLIENT_MAX, self.said.read_line(&mut line)).await;
            if read.unwrap_or_else(|_| panic!("it says no more than {all:?}")).unwrap() == 0 {
                let mut error = String::new();
                let stderr = self.child.stderr.as_mut().unwrap();
                stderr.read_to_string(&mut error).await.unwrap();
                panic!("it ended after {all:?}: {error}");
            }
            if line.trim() == word {
                return;
            }
            all.push_str(&line);
        }
    }

    async fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").await.unwrap();
    }

    async fn ended(mut self) {
        self.until("watches done").await;
        let status = timeout(CLIENT_MAX, self.child.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0));
    }
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
    let mut client = Client::start(&packages, &[server.endpoint()]);
    client.until("restart").await;
    server.kill();
    server.restart().await;
    client.go_on().await;
    client.ended().await;
}

/// Proves the same on three members, while their leader goes away and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_three_servers() {
    let packages = match packages().await {
        Ok(packages) => packages,
        Err(why) => return skipped("Node's etcd3 on three servers", &why),
    };
    let mut cluster = Cluster::start(subject!(), 3).await;
    let mut client = Client::start(&packages, &cluster.endpoints());
    client.until("restart").await;
    let leader = cluster.leader().await;
    cluster.member_mut(leader).kill();
    cluster.member_mut(leader).launch();
    cluster.member_mut(leader).wait_serving().await;
    client.go_on().await;
    client.ended().await;
}
