//! Removing what a test program that was killed has left behind.

use std::path::Path;
use std::process::Command;

use super::{Namespace, run};

/// Removes the namespaces of networks whose owner is gone, and the servers in them.
pub(super) fn remove() {
    let Ok(output) = Command::new("ip").args(["netns", "list"]).output() else { return };
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| is_orphan(name)) {
        end_processes(name);
        Namespace::existing(name).delete();
    }
}

/// Whether it is `berth-SUBNET-OWNER-WHAT` and no process OWNER exists.
fn is_orphan(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let &["berth", _, owner, _] = &parts[..] else { return false };
    owner.parse::<u32>().is_ok() && !Path::new("/proc").join(owner).exists()
}

fn end_processes(name: &str) {
    let Ok(output) = Command::new("ip").args(["netns", "pids", name]).output() else { return };
    for pid in String::from_utf8_lossy(&output.stdout).split_whitespace() {
        // It may end by itself meanwhile.
        let _ = run(&format!("kill -KILL {pid}"));
    }
}
