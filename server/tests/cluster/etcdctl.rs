//! Debian's etcdctl drives a cluster, and so does `berth ctl`.

use std::path::PathBuf;

use testkit::{Cluster, Finished, Place, Script, eventually, require, subject};

/// etcd changes members only when all have been connected for five seconds.
const CHANGE_S_MAX: u64 = 60;

/// etcdctl, or what takes its command lines, with all endpoints of a cluster.
struct Etcdctl {
    program: PathBuf,
    leading: &'static [&'static str],
    endpoints: String,
}

impl Etcdctl {
    fn debians(cluster: &Cluster) -> Self {
        let program = require("etcdctl", "etcd-client");
        Self { program, leading: &[], endpoints: cluster.endpoints().join(",") }
    }

    fn berths(cluster: &Cluster) -> Self {
        let program = env!("CARGO_BIN_EXE_berth").into();
        Self { program, leading: &["ctl"], endpoints: cluster.endpoints().join(",") }
    }

    async fn run(&self, line: &str) -> Finished {
        self.at(&self.endpoints, line).await
    }

    async fn at(&self, endpoints: &str, line: &str) -> Finished {
        let words: Vec<&str> =
            self.leading.iter().copied().chain(line.split_whitespace()).collect();
        let script = Script::new(&self.program, &words).env("ETCDCTL_API", "3");
        script.env("ETCDCTL_ENDPOINTS", endpoints).run().await
    }

    /// What a command prints that succeeds.
    async fn output(&self, line: &str) -> String {
        let finished = self.run(line).await;
        assert_eq!(finished.code, Some(0), "`{line}`: {finished:?}");
        finished.stdout
    }

    /// A change of members, repeated until the cluster allows it.
    async fn change(&self, line: &str) -> String {
        eventually(line, CHANGE_S_MAX, async || {
            let finished = self.run(line).await;
            if finished.code == Some(0) { Ok(finished.stdout) } else { Err(finished.stderr) }
        })
        .await
    }

    /// Promotes a learner as soon as it has caught up.
    async fn promote(&self, id: &str) {
        eventually("a learner is promoted", CHANGE_S_MAX, async || {
            let finished = self.run(&format!("member promote {id}")).await;
            let promoted = format!("{id} promoted in cluster");
            // etcd may lose the answer while it counts its members anew.
            let before = finished.stderr.contains("can only promote a learner member\n");
            let done = finished.stdout.contains(&promoted) || before;
            if done { Ok(()) } else { Err(finished.stderr) }
        })
        .await;
    }
}

/// Proves that `endpoint status|health|hashkv --cluster`, `move-leader` and `snapshot save` do
/// their work on three members.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_asks_moves_and_saves() {
    asks_moves_and_saves(Etcdctl::debians).await;
}

/// Proves the same of `berth ctl`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn berth_ctl_asks_moves_and_saves() {
    asks_moves_and_saves(Etcdctl::berths).await;
}

async fn asks_moves_and_saves(etcdctl: fn(&Cluster) -> Etcdctl) {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let etcdctl = etcdctl(&cluster);
    for number in 0..20 {
        etcdctl.output(&format!("put key{number} value")).await;
    }
    cluster.converged().await;
    let first = cluster.endpoints().remove(0);

    let health = etcdctl.at(&first, "endpoint health --cluster").await;
    let healthy = (health.stdout + &health.stderr).matches("is healthy: successfully").count();
    assert_eq!((health.code, healthy), (Some(0), 3));

    let status = etcdctl.at(&first, "endpoint status --cluster").await;
    assert_eq!((status.code, status.stdout.lines().count()), (Some(0), 3), "{status:?}");
    let leads = |line: &&str| line.split(", ").nth(4) == Some("true");
    assert_eq!(status.stdout.lines().filter(leads).count(), 1, "{}", status.stdout);

    let hashes = etcdctl.at(&first, "endpoint hashkv --cluster").await.stdout;
    let mut hashes: Vec<&str> = hashes.lines().filter_map(|line| line.split(", ").nth(1)).collect();
    assert_eq!(hashes.len(), 3);
    hashes.dedup();
    assert_eq!(hashes.len(), 1, "the members differ: {hashes:?}");

    let leader = cluster.leader().await;
    let target = cluster.others(leader)[1];
    let (from, to) = (cluster.id(leader).await, cluster.id(target).await);
    let moved = etcdctl.output(&format!("move-leader {to:x}")).await;
    assert_eq!(moved, format!("Leadership transferred from {from:x} to {to:x}\n"));
    assert_eq!(cluster.leader().await, target);
    let follower = cluster.member(leader).endpoint();
    let refused = etcdctl.at(&follower, &format!("move-leader {from:x}")).await;
    assert_eq!(refused.code, Some(128), "there is no leader among the endpoints: {refused:?}");
    let words = format!("Error: no leader endpoint given at [{follower}]\n");
    assert!(refused.stderr.ends_with(&words), "{refused:?}");

    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let file = directory.path().join("snapshot");
    let saved = etcdctl.at(&follower, &format!("snapshot save {}", file.display())).await;
    assert_eq!(saved.code, Some(0), "{saved:?}");
    assert!(file.metadata().expect("the file is there").len() > 0);
}

/// Proves that `member list|add|update|promote|remove` change a cluster, with a real process for
/// the member that is added.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_changes_the_members() {
    changes_the_members(Etcdctl::debians).await;
}

/// Proves the same of `berth ctl`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn berth_ctl_changes_the_members() {
    changes_the_members(Etcdctl::berths).await;
}

async fn changes_the_members(etcdctl: fn(&Cluster) -> Etcdctl) {
    let mut cluster = Cluster::start(subject!(), 3).await;
    let etcdctl = etcdctl(&cluster);
    let list = etcdctl.output("member list").await;
    for at in 0..cluster.len() {
        let place = &cluster.member(at).place;
        let line = format!(
            "{:x}, started, m{}, {}, {}, false",
            cluster.id(at).await,
            at + 1,
            place.advertised_peer_url(),
            cluster.member(at).endpoint()
        );
        assert!(list.lines().any(|listed| listed == line), "`{line}` is not in\n{list}");
    }

    let place = Place::loopback();
    let url = place.advertised_peer_url();
    let added = etcdctl.change(&format!("member add m4 --learner --peer-urls={url}")).await;
    assert!(added.contains("added to cluster"), "{added}");
    for line in ["ETCD_NAME=\"m4\"", "ETCD_INITIAL_CLUSTER_STATE=\"existing\"", url.as_str()] {
        assert!(added.contains(line), "`{line}` is not in\n{added}");
    }
    let id = added.split_whitespace().nth(1).expect("the id follows the word Member").to_owned();
    let listed = etcdctl.output("member list").await;
    let line = format!("{id}, unstarted, , {url}, , true");
    assert!(listed.lines().any(|listed| listed == line), "`{line}` is not in\n{listed}");

    // It moves before it has begun.
    let place = Place::loopback();
    let url = place.advertised_peer_url();
    let updated = etcdctl.output(&format!("member update {id} --peer-urls={url}")).await;
    assert!(updated.contains(&format!("{id} updated in cluster")), "{updated}");

    let at = cluster.join(place, &[]);
    cluster.member_mut(at).launch();
    etcdctl.promote(&id).await;
    cluster.member_mut(at).wait_serving().await;
    assert_eq!(format!("{:x}", cluster.id(at).await), id);
    cluster.converged().await;

    let removed = etcdctl.change(&format!("member remove {id}")).await;
    assert!(removed.contains(&format!("{id} removed from cluster")), "{removed}");
    cluster.member_mut(at).wait_end().await;
    assert_eq!(etcdctl.output("member list").await.lines().count(), 3);
    etcdctl.output("put after change").await;
    cluster.converged().await;
}
