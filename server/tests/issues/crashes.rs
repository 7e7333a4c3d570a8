//! What was lost, or not equal, after a crash.

use api::etcdserverpb::DefragmentRequest;
use testkit::{Cluster, Server, subject};

use crate::steps::{keys, put, revision};
use crate::writers::Writers;

/// Acknowledged writes that are waited for before a kill and after it.
const WRITES_PER_LIFE: usize = 150;

/// Proves that a member that is alone has on its disk what it acknowledged, each time.
#[tokio::test]
async fn etcd_14370_a_single_node_loses_no_acknowledged_write() {
    let mut server = Server::start(subject!(), &[]).await;
    for round in 0..5 {
        let last = put(&server.clients(), "k", &format!("{round}")).await;
        server.kill();
        server.restart().await;
        assert_eq!(revision(&server.clients()).await, last, "round {round}");
    }
}

/// Proves that members which are killed in the midst of many writes, one after the other, hold the
/// same revisions as the others, with the same hashes, and everything that was acknowledged. It
/// counts only with writes before each kill, while the member is away, and after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_13766_members_agree_on_revisions_after_crashes_under_load() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let writers = Writers::start(&cluster);
    for round in 0..4 {
        let victim = round % cluster.len();
        writers.progress(WRITES_PER_LIFE).await;
        cluster.member_mut(victim).kill();
        writers.progress(WRITES_PER_LIFE).await;
        cluster.member_mut(victim).restart().await;
    }
    writers.progress(WRITES_PER_LIFE).await;
    let acknowledged = writers.stop().await;
    cluster.converged().await;
    for at in 0..cluster.len() {
        let found = keys(&cluster.clients(at)).await;
        let missing = acknowledged.iter().find(|key| !found.contains(*key));
        assert_eq!(missing, None, "m{} lacks what was acknowledged", at + 1);
    }
}

/// Proves that a crash while it defragments costs nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_14685_a_crash_while_it_defragments_loses_nothing() {
    let mut server = Server::start(subject!(), &[]).await;
    for count in 0..200 {
        put(&server.clients(), &format!("k{count}"), &"v".repeat(1000)).await;
    }
    for pause_ms in [0, 2, 10] {
        let mut clients = server.clients();
        let defragment =
            tokio::spawn(async move { clients.maintenance.defragment(DefragmentRequest {}).await });
        tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
        server.kill();
        // It may have been faster.
        let _ = defragment.await;
        server.restart().await;
        assert_eq!(revision(&server.clients()).await, 201);
    }
}
