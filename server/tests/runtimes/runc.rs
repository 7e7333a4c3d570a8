//! `runc` without a daemon.

use std::path::Path;
use std::sync::Arc;

use sched::agent::images::Images;
use sched::agent::runtime::Runtime;
use sched::agent::runtime::contract::{Subject, keep};
use sched::agent::runtime::runc::{Runc, Settings, find_program};
use testkit::{busybox_archive, skipped};

pub(crate) const IMAGE: &str = "docker.io/library/busybox:test";

/// Whether this machine can run containers; says so if not.
fn is_possible(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        skipped(test, "containers need root");
        return false;
    }
    assert!(find_program().is_some(), "runc is missing (Debian: apt-get install runc)");
    true
}

fn settings(root: &Path, bridge: &str) -> Settings {
    Settings {
        root: root.to_owned(),
        helper: vec![env!("CARGO_BIN_EXE_berth").into(), "container".into()],
        bridge: bridge.into(),
        registries: Default::default(),
    }
}

/// Taken down at the end, whatever happens before.
struct Bridge(&'static str);

impl Drop for Bridge {
    fn drop(&mut self) {
        testkit::remove_bridge(self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runc_keeps_the_contract() {
    // Proves the whole contract for containers without a daemon: images from an archive, exit
    // codes, logs, stopping, processes that go on without the agent, adoption, what is refused.
    if !is_possible("runc_keeps_the_contract") {
        return;
    }
    let bridge = Bridge("bertht0");
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("runc");
    let archive = busybox_archive(directory.path(), "busybox:test");
    let imported = Images::open(&root.join("images")).unwrap().import(&archive, None).unwrap();
    assert_eq!(imported[0].to_string(), IMAGE);
    let settings = settings(&root, bridge.0);
    let open = move || Arc::new(Runc::open(settings.clone()).unwrap()) as Arc<dyn Runtime>;
    let cidr = "10.231.7.0/24".parse().unwrap();
    keep(&Subject { image: "busybox:test".into(), cidr, open: Box::new(open) }).await;
    let left = std::fs::read_dir(root.join("pods")).unwrap().count();
    let addresses = std::fs::read_dir(root.join("addresses")).unwrap().count();
    assert_eq!((left, addresses), (0, 0), "nothing is left of pods");
}
