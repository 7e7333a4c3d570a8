//! Etcd's own client, in Go: its recipes, and a watcher that survives a restart. On one server, and on
//! three whose leader goes away.
//!
//! Only where there is a Go toolchain: Debian's may be older than what the client asks for. What it
//! is built of is pinned by `go.sum`. Without toolchain or modules nothing is tested, and that is
//! said.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::{Cluster, Dialogue, Server, skipped, subject};
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/go/client");
/// Where those who take it from go.dev have it, if it is not in the path.
const USUAL: &str = "/usr/local/go/bin/go";
/// Modules are fetched and compiled the first time.
const BUILD_MAX: Duration = Duration::from_secs(300);

/// The client, built once for all tests of this program.
async fn built() -> Result<PathBuf, String> {
    static BUILT: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    BUILT.get_or_init(build).await.clone()
}

async fn build() -> Result<PathBuf, String> {
    let client = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-client");
    let go = if Path::new(USUAL).exists() { USUAL } else { "go" };
    let mut build = Command::new(go);
    build.args(["build", "-mod=readonly", "-o"]).arg(&client).arg(".");
    build.current_dir(SOURCE).env("GOTOOLCHAIN", "local").kill_on_drop(true);
    let built = timeout(BUILD_MAX, build.output()).await.map_err(|_| "it takes too long")?;
    let built = built.map_err(|error| format!("there is no Go toolchain: {error}"))?;
    if built.status.success() {
        return Ok(client);
    }
    Err(String::from_utf8_lossy(&built.stderr).into_owned())
}

fn start(client: &Path, endpoints: &[String]) -> Dialogue {
    let mut command = Command::new(client);
    command.args(endpoints);
    Dialogue::start(command)
}

/// Proves that the client's recipes hold on one server, and that its watcher goes on where it was
/// when the server comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_server() {
    let client = match built().await {
        Ok(client) => client,
        Err(why) => return skipped("etcd's client in Go on one server", &why),
    };
    let mut server = Server::start(subject!(), &[]).await;
    let mut client = start(&client, &[server.endpoint()]);
    client.wants_a_restart().await;
    server.kill();
    server.restart().await;
    client.goes_on_to_its_end().await;
}

/// Proves the same on three members, while their leader goes away and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_three_servers() {
    let client = match built().await {
        Ok(client) => client,
        Err(why) => return skipped("etcd's client in Go on three servers", &why),
    };
    let mut cluster = Cluster::start(subject!(), 3).await;
    let mut client = start(&client, &cluster.endpoints());
    client.wants_a_restart().await;
    let leader = cluster.leader().await;
    cluster.member_mut(leader).kill();
    cluster.member_mut(leader).launch();
    cluster.member_mut(leader).wait_serving().await;
    client.goes_on_to_its_end().await;
}
