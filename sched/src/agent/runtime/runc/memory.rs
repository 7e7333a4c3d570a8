//! Whether the kernel killed something in a container for want of memory.

use std::path::PathBuf;

/// The file that counts it; where it is must be asked while the container runs.
#[derive(Debug)]
pub(super) struct Memory(Option<PathBuf>);

impl Memory {
    pub(super) fn of(pid: i32) -> Self {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        Self(groups.lines().find_map(counter))
    }

    pub(super) fn has_run_out(&self) -> bool {
        let counts = self.0.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let counts = counts.unwrap_or_default();
        let kills = counts.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|kills| kills.trim() != "0")
    }
}

/// Of a line of proc_pid_cgroup(5).
fn counter(line: &str) -> Option<PathBuf> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let path = path.trim_start_matches('/');
    if controllers.split(',').any(|controller| controller == "memory") {
        return Some(PathBuf::from("/sys/fs/cgroup/memory").join(path).join("memory.oom_control"));
    }
    let is_unified =
        number == "0" && std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    is_unified.then(|| PathBuf::from("/sys/fs/cgroup").join(path).join("memory.events"))
}
