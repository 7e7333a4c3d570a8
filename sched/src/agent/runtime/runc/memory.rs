//! Whether the kernel killed something in a container for want of memory.

use std::path::{Path, PathBuf};

const GROUPS: &str = "/sys/fs/cgroup";

/// The file that counts it, as long as the container is not removed.
#[derive(Debug)]
pub(super) struct Memory(PathBuf);

impl Memory {
    /// Of a control group, by what the runtime was told to call it: what the kernel says of its
    /// first process is lost when that has ended.
    pub(super) fn of(group: &str) -> Self {
        let (groups, group) = (Path::new(GROUPS), group.trim_start_matches('/'));
        // With both versions at once memory is of the first.
        Self(match groups.join("cgroup.controllers").exists() {
            true => groups.join(group).join("memory.events"),
            false => groups.join("memory").join(group).join("memory.oom_control"),
        })
    }

    pub(super) fn has_run_out(&self) -> bool {
        let counts = std::fs::read_to_string(&self.0).unwrap_or_default();
        let kills = counts.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|kills| kills.trim() != "0")
    }
}
