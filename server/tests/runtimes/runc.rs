//! `runc` and `crun`, without a daemon.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sched::agent::images::Images;
use sched::agent::runtime::Runtime;
use sched::agent::runtime::contract::{Subject, keep};
use sched::agent::runtime::runc::{Runc, Settings};
use testkit::{Layout, busybox_archive, require, skipped};

pub(crate) const IMAGE: &str = "docker.io/library/busybox:test";
/// Machines whose control groups are of both versions at once have the second here.
const UNIFIED: &str = "/sys/fs/cgroup/unified";
/// Old crun refuses such a machine. It sees none with the second version out of its sight.
const WITHOUT_UNIFIED: &str = "#!/bin/sh\nexec unshare --mount -- \
    sh -c 'umount /sys/fs/cgroup/unified && exec \"$0\" \"$@\"' ";

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
    let runc = |_: &Path| require("runc", "runc");
    let archive = |directory: &Path| busybox_archive(directory, "busybox:test");
    keeps("runc", runc, archive, "bertht0", "10.231.7.0/24").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crun_keeps_the_contract() {
    // Proves the same with the other OCI runtime, and an image from an archive in OCI layout.
    let layout = Layout::new(Some("busybox:test"));
    keeps("crun", crun, |_| layout.archive(), "bertht5", "10.231.6.0/24").await;
}

async fn keeps(
    name: &'static str,
    program: impl Fn(&Path) -> PathBuf,
    archive: impl Fn(&Path) -> PathBuf,
    bridge: &'static str,
    cidr: &str,
) {
    if !rustix::process::geteuid().is_root() {
        return skipped(&format!("{name}_keeps_the_contract"), "containers need root");
    }
    let bridge = Bridge(bridge);
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("runc");
    let archive = archive(directory.path());
    let imported = Images::open(&root.join("images")).unwrap().import(&archive, None).unwrap();
    assert_eq!(imported[0].to_string(), IMAGE);
    let settings = Settings {
        root: root.clone(),
        program: program(directory.path()),
        helper: vec![env!("CARGO_BIN_EXE_berth").into(), "container".into()],
        bridge: bridge.0.into(),
        registries: Default::default(),
    };
    let open = move || {
        let runtime = Runc::open(settings.clone()).unwrap();
        assert_eq!(runtime.name(), name);
        Arc::new(runtime) as Arc<dyn Runtime>
    };
    let cidr = cidr.parse().unwrap();
    keep(&Subject { image: "busybox:test".into(), cidr, open: Box::new(open) }).await;
    let left = std::fs::read_dir(root.join("pods")).unwrap().count();
    let addresses = std::fs::read_dir(root.join("addresses")).unwrap().count();
    assert_eq!((left, addresses), (0, 0), "nothing is left of pods");
}

/// As it is, or on a machine that it refuses, with what it would do without.
fn crun(directory: &Path) -> PathBuf {
    let crun = require("crun", "crun");
    if !Path::new(UNIFIED).exists() {
        return crun;
    }
    let script = directory.join("crun");
    std::fs::write(&script, format!("{WITHOUT_UNIFIED}{} \"$@\"\n", crun.display())).unwrap();
    let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, runs).unwrap();
    script
}
