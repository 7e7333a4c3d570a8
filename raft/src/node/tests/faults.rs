//! Disks that are full, and disks that hang: neither ends a member, nor the cluster.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::cluster::{Cluster, SOON};
use super::home::{Home, get, process, put, write};
use crate::vfs::{CrashFs, Gate, Gated, Operation, Vfs};
use crate::{Node, Surroundings};

/// Another's files, with three switches. Clones share it.
#[derive(Clone)]
pub(super) struct FaultyFs {
    files: CrashFs,
    switches: Arc<Switches>,
}

#[derive(Default)]
struct Switches {
    /// There is no room for another snapshot, which is found when it is written.
    full: AtomicBool,
    /// The same, and the disk says so before.
    says_full: AtomicBool,
    /// Syncs do not return.
    hangs: AtomicBool,
}

impl FaultyFs {
    pub(super) fn new(files: CrashFs) -> FaultyFs {
        FaultyFs { files, switches: Arc::default() }
    }

    pub(super) fn vfs(&self) -> Arc<dyn Vfs> {
        Arc::new(Gated::new(Arc::new(self.files.clone()), self.switches.clone()))
    }
}

impl Gate for Switches {
    fn pass(&self, operation: Operation, path: &Path) -> io::Result<()> {
        let is_snapshot = path.parent().is_some_and(|dir| dir.ends_with("snap"));
        match operation {
            Operation::Create if is_snapshot && self.full.load(Ordering::SeqCst) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            Operation::Sync => {
                while self.hangs.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn available_bytes(&self) -> Option<u64> {
        self.says_full.load(Ordering::SeqCst).then_some(1)
    }
}

#[test]
fn a_disk_without_room_for_a_snapshot_costs_a_longer_log_and_nothing_else() {
    // Proves that a member goes on when its snapshots cannot be written, the first one and a later
    // one, whether the disk says so before or not, also across a restart, and takes one when there is
    // room again.
    let mut home = Home::new();
    home.config.snapshot_log_bytes_min = 64 << 10;
    let disk = FaultyFs::new(home.fs.clone());
    let value = "v".repeat(16 << 10);
    process().block_on(async {
        for round in 0..3 {
            let switches = &disk.switches;
            let switch = if round == 1 { &switches.says_full } else { &switches.full };
            switch.store(true, Ordering::SeqCst);
            let mut surroundings = Surroundings::real(&home.config);
            surroundings.vfs = disk.vfs();
            surroundings.engines = Box::new(home.engines.clone());
            let node: super::home::TestNode =
                Node::start_in(home.config.clone(), surroundings).await.unwrap();
            let before = node.status().snapshot_index;
            let failures = node.inner.snapshots.failures();
            let mut count = 0;
            while node.inner.snapshots.failures() == failures {
                write(&node, &format!("{round}-{count}"), &value).await;
                count += 1;
                assert!(count < 10_000, "no snapshot was tried");
            }
            write(&node, "after", &round.to_string()).await;
            assert_eq!(get(&node.reader(), "after"), Some(round.to_string()));
            assert_eq!(node.status().snapshot_index, before);
            node.shutdown().await;

            switch.store(false, Ordering::SeqCst);
            let node = home.start().await.unwrap();
            assert_eq!(get(&node.reader(), "after"), Some(round.to_string()));
            let taken = async {
                while node.status().snapshot_index == before {
                    write(&node, "more", &value).await;
                }
            };
            tokio::time::timeout(SOON, taken).await.expect("a snapshot");
            node.shutdown().await;
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_leads_no_longer() {
    // Proves that writes go on under another leader, and that the member is one again when its disk
    // is back.
    let mut cluster = Cluster::start_with(3, |home| {
        home.disk = Some(FaultyFs::new(home.fs.clone()));
    })
    .await;
    let old = cluster.leader().await;
    let other = cluster.follower_of(old);
    write(&cluster.nodes[&other], "a", "1").await;
    let disk = cluster.homes[&old].disk.clone().expect("all have one");
    disk.switches.hangs.store(true, Ordering::SeqCst);
    // An election on a slow machine may cost one of them its answer.
    let moved = async {
        while cluster.nodes[&other].leader().is_none_or(|leader| leader == old) {
            let _ = cluster.nodes[&other].propose(put("a", "2")).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        while cluster.nodes[&other].propose(put("a", "3")).await.is_err() {}
    };
    tokio::time::timeout(SOON, moved).await.expect("another leader");
    disk.switches.hangs.store(false, Ordering::SeqCst);
    tokio::time::timeout(SOON, cluster.nodes[&old].ready()).await.unwrap().unwrap();
    assert_eq!(get(&cluster.nodes[&old].reader(), "a").as_deref(), Some("3"));
    for id in [1, 2, 3] {
        cluster.stop_member(id).await;
    }
}
