//! The `etcd-client` crate, which others wrote, as a client with all endpoints.
//!
//! A package of its own, outside the workspace: the crate compiles its messages with `protoc`,
//! which nothing else here needs. `./test` installs that and runs this with `BERTH_BIN` naming
//! the binary.

#![cfg(test)]

mod confd;
mod recipes;

use std::time::Duration;

use etcd_client::{Client, ConnectOptions, GetOptions};
use testkit::{Cluster, Program, eventually};

/// The crate's channel notices a dead endpoint by failing on it; the test goes on as users do.
const RECOVERY_S_MAX: u64 = 60;
const WRITES: u32 = 20;

/// The server under test; a build of the workspace leaves it in `target/debug`.
fn subject() -> Program {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../target/debug/berth");
    Program::subject(&std::env::var("BERTH_BIN").unwrap_or_else(|_| default.to_owned()))
}

/// Proves that one client with all endpoints survives the loss of each member in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_survives_the_loss_of_any_member() {
    let mut cluster = Cluster::start(subject(), 3).await;
    let options = ConnectOptions::new()
        .with_timeout(Duration::from_secs(3))
        .with_connect_timeout(Duration::from_secs(2));
    let mut client =
        Client::connect(cluster.endpoints(), Some(options)).await.expect("the cluster serves");
    for at in 0..cluster.len() {
        cluster.member_mut(at).kill();
        let prefix = format!("without m{}/", at + 1);
        for number in 0..WRITES {
            let key = format!("{prefix}{number}");
            eventually("a write succeeds again", RECOVERY_S_MAX, async || {
                let put = client.clone().put(key.clone(), "v", None).await;
                put.map_err(|error| error.to_string())
            })
            .await;
        }
        let count = eventually("a read succeeds again", RECOVERY_S_MAX, async || {
            let options = GetOptions::new().with_prefix().with_count_only();
            let answer = client.clone().get(prefix.clone(), Some(options)).await;
            answer.map(|answer| answer.count()).map_err(|error| error.to_string())
        })
        .await;
        assert_eq!(count, i64::from(WRITES));
        cluster.member_mut(at).restart().await;
    }
    let members = eventually("the members are listed", RECOVERY_S_MAX, async || {
        client.member_list().await.map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(members.members().len(), 3);
    cluster.converged().await;
}
