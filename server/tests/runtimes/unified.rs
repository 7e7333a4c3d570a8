//! Containers where the kernel has the second version of control groups alone: on a kernel that runs
//! as a process of this machine (User Mode Linux), with this machine's files.

use std::path::{Path, PathBuf};

use testkit::{Script, require, skipped};

/// On a machine where it is there, every test of containers is one of the second version.
const ONLY_SECOND: &str = "/sys/fs/cgroup/cgroup.controllers";
const MODULES: &str = "/usr/lib/uml/modules";
/// What networks and root file systems of containers need of a kernel.
const NEEDED: &str = "overlay bridge veth ip_tables iptable_nat iptable_filter xt_MASQUERADE \
                      xt_conntrack xt_comment nf_tables nft_compat nft_chain_nat br_netfilter";
/// Ours that run there; such a kernel is slow, so `BERTH_UNIFIED_TESTS` names more of them.
const TESTS: &str = "runc::limits_are_the_kernels";
/// How long they may take there, and the kernel in all.
const TESTS_S_MAX: u64 = 400;
const KERNEL_S_MAX: u64 = 520;
/// Where it begins: nothing is mounted over it there, and its name has no spaces.
const PLACE: &str = "/var/tmp";

#[tokio::test]
async fn runc_runs_with_the_second_version_of_control_groups_alone() {
    // Proves that containers have their limits there, by the same test.
    let test = "runc_runs_with_the_second_version_of_control_groups_alone";
    if Path::new(ONLY_SECOND).exists() {
        return skipped(test, "this machine has that version alone: the other tests show it");
    }
    if !rustix::process::geteuid().is_root() {
        return skipped(test, "containers need root");
    }
    if !Path::new(MODULES).exists() {
        return skipped(test, "there is no User Mode Linux: `apt-get install user-mode-linux`");
    }
    let directory = tempfile::tempdir_in(PLACE).unwrap();
    let init = directory.path().join("init");
    let own = directory.path().join("own");
    let log = directory.path().join("log");
    std::fs::create_dir(&own).unwrap();
    let tests = std::env::var("BERTH_UNIFIED_TESTS").unwrap_or_else(|_| TESTS.to_owned());
    std::fs::write(&init, script(&own, &log, &tests)).unwrap();
    let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&init, runs).unwrap();
    let kernel = require("linux.uml", "user-mode-linux");
    require("modprobe", "kmod");
    let arguments = [
        // With all of its processes: `timeout` makes them a group, and a kernel that panics signals
        // the group that it is in.
        "--signal=KILL".to_owned(),
        KERNEL_S_MAX.to_string(),
        kernel.display().to_string(),
        "root=/dev/root rootfstype=hostfs rootflags=/ rw mem=1G con=null con0=null,fd:1".to_owned(),
        format!("uml_dir={} init={}", directory.path().display(), init.display()),
    ];
    let arguments: Vec<&str> = arguments.iter().flat_map(|some| some.split(' ')).collect();
    let timeout = Script::new(Path::new("timeout"), &arguments).limit_s(KERNEL_S_MAX + 20);
    let kernel = timeout.run().await;
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    if !said.contains("controllers: ") {
        let words = format!("the kernel does not start here: {}{}", kernel.stdout, kernel.stderr);
        return skipped(test, &words.replace(char::is_control, " "));
    }
    let passed = format!("test result: ok. {} passed", tests.split(' ').count());
    assert!(said.contains(&passed), "{said}\n{}", kernel.stdout);
    assert!(said.contains("controllers: cpu io memory pids"), "{said}");
    assert!(!said.contains("SKIPPED"), "{said}");
}

/// What the kernel runs in place of an init.
fn script(own: &Path, log: &Path, tests: &str) -> String {
    let program: PathBuf = std::env::current_exe().unwrap();
    let path = std::env::var("PATH").unwrap();
    format!(
        "#!/bin/sh
export PATH='{path}' HOME=/root TMPDIR='{own}'
exec > '{log}' 2>&1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs '{own}'
mkdir -p '{own}/lib'
ln -s {MODULES} '{own}/lib/modules'
for module in {NEEDED}; do modprobe -d '{own}' $module; done
ip link set lo up
echo \"controllers: $(cat /sys/fs/cgroup/cgroup.controllers)\"
sync
cd '{own}' && timeout {TESTS_S_MAX} '{program}' --exact {tests}
sync
echo o > /proc/sysrq-trigger
sleep 60
",
        own = own.display(),
        log = log.display(),
        program = program.display(),
    )
}
