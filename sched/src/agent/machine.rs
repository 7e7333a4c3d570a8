//! What the machine has.

use std::path::Path;

/// Capacity, and what is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) cpu_millis: u64,
    pub(super) memory_bytes: u64,
    pub(super) disk_bytes: u64,
    pub(super) kernel: String,
    pub(super) system: String,
    pub(super) machine_id: String,
    pub(super) boot_id: String,
}

impl Machine {
    /// Looks; what cannot be seen is 0 or empty.
    pub(super) fn look(root: &Path) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let memory = text("/proc/meminfo");
        let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = memory.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        let release = text("/etc/os-release");
        let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let disk = rustix::fs::statvfs(root).map_or(0, |disk| disk.f_blocks * disk.f_frsize);
        Self {
            cpu_millis: cpus * 1000,
            memory_bytes: kib.unwrap_or(0) * 1024,
            disk_bytes: disk,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            system: name.unwrap_or("Linux").trim_matches('"').to_owned(),
            machine_id: text("/etc/machine-id").trim().to_owned(),
            boot_id: text("/proc/sys/kernel/random/boot_id").trim().to_owned(),
        }
    }
}
