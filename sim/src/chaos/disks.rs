//! Disks that are full, and disks whose syncs fail.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use testkit::{Cluster, Syncs};

use super::Report;

/// What a member's disk holds: a few segments of the log and the engine.
const DISK_MB: u32 = 192;

/// Of all members; dropping it unmounts them.
pub(super) struct Disks {
    /// Where a small file system is mounted; empty: not permitted here.
    mounted: Vec<PathBuf>,
    /// One file for each member: while it exists, its syncs fail. Empty: no compiler here.
    switches: Vec<PathBuf>,
    _directory: TempDir,
}

impl Disks {
    /// Before the members start for the first time.
    pub(super) fn prepare(cluster: &mut Cluster, report: &mut Report) -> Disks {
        let directory = TempDir::new().expect("a temporary directory");
        let mut disks = Disks { mounted: Vec::new(), switches: Vec::new(), _directory: directory };
        if let Err(why) = disks.mount_all(cluster) {
            report.missing("full disks", why);
        }
        match Syncs::compile(disks._directory.path()) {
            Ok(syncs) => disks.preload(cluster, &syncs),
            Err(why) => report.missing("failing syncs", why),
        }
        disks
    }

    fn mount_all(&mut self, cluster: &Cluster) -> Result<(), String> {
        for at in 0..cluster.len() {
            let path = cluster.member(at).data_dir();
            std::fs::create_dir_all(&path).map_err(|error| error.to_string())?;
            let options = format!("size={DISK_MB}m,mode=700");
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &options, "berth-chaos"]).arg(&path);
            done(&mut mount)?;
            self.mounted.push(path);
        }
        Ok(())
    }

    fn preload(&mut self, cluster: &mut Cluster, syncs: &Syncs) {
        for at in 0..cluster.len() {
            let switch = self._directory.path().join(format!("broken-{at}"));
            syncs.break_while(cluster.member_mut(at), &switch);
            self.switches.push(switch);
        }
    }

    /// Fills a member's disk to the last byte; false if that cannot be done here.
    pub(super) fn fill(&self, at: usize) -> bool {
        let Some(path) = self.mounted.get(at) else { return false };
        let ballast = path.join("ballast");
        let script = format!("cat /dev/zero > '{}' 2>/dev/null; true", ballast.display());
        done(Command::new("sh").args(["-c", &script])).is_ok()
    }

    pub(super) fn empty(&self, at: usize) {
        if let Some(path) = self.mounted.get(at) {
            // It is not there if the disk was full before.
            let _ = std::fs::remove_file(path.join("ballast"));
        }
    }

    /// From now on every sync of the member fails; false if that cannot be done here.
    pub(super) fn break_syncs(&self, at: usize) -> bool {
        self.switches.get(at).is_some_and(|switch| std::fs::write(switch, "").is_ok())
    }

    pub(super) fn mend(&self, at: usize) {
        if let Some(switch) = self.switches.get(at) {
            // It is not there if nothing was broken.
            let _ = std::fs::remove_file(switch);
        }
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for path in &self.mounted {
            // Lazily: a process may still be about to end.
            if let Err(why) = done(Command::new("umount").arg("-l").arg(path)) {
                eprintln!("{why}");
            }
        }
    }
}

fn done(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
