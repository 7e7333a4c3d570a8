//! What a process looks like from inside: its memory as the kernel counts it, and its metrics.

use std::error::Error;
use std::fs;

use super::Member;
use crate::metrics;

/// Both servers count so, by receiver; there is no such line before the first.
pub(super) const SNAPSHOTS_SENT: &str = "etcd_network_snapshot_send_success";

/// A process's memory, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Resident now: its own, and pages of files that it has mapped.
    pub(crate) resident: i64,
    /// The part that is no file's.
    pub(crate) own: i64,
    /// The most that was resident since the process began, or since [`Member::forget_peak`].
    pub(crate) peak: i64,
}

impl Member {
    /// Its memory now.
    ///
    /// # Errors
    /// If it does not run.
    pub(crate) fn memory(&self) -> Result<Memory, Box<dyn Error>> {
        let pid = self.pid().ok_or("a member that does not run has no memory")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().nth(1));
            Some(kib?.parse::<i64>().ok()? << 10)
        };
        let memory = || {
            Some(Memory {
                resident: field("VmRSS")?,
                own: field("RssAnon")?,
                peak: field("VmHWM")?,
            })
        };
        Ok(memory().ok_or_else(|| format!("{} has ended", self.name))?)
    }

    /// The peak begins at what is resident now.
    pub(crate) fn forget_peak(&self) -> Result<(), Box<dyn Error>> {
        let pid = self.pid().ok_or("a member that does not run has no memory")?;
        // proc(5): 5 resets VmHWM.
        Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
    }

    /// The sum over all labels of a counter; 0 if there is none of that name, or no answer.
    pub(super) async fn count(&self, name: &str) -> usize {
        metrics::count(&self.client_url, name).await.unwrap_or_default()
    }
}
