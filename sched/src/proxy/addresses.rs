//! Cluster addresses on a device of the node, so that they can be listened on.
//!
//! They bear a label, by which those are found that an earlier run has left.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Output;

use tokio::process::Command;

/// What comes after the device's name in the label of our addresses; 15 letters are all there may
/// be.
const LABEL: &str = "berth";

pub(super) struct Addresses {
    /// `None`: nothing is added or removed.
    device: Option<String>,
    there: BTreeSet<IpAddr>,
    was_read: bool,
    has_failed: bool,
}

impl Addresses {
    pub(super) fn new(device: Option<String>) -> Self {
        Self { device, there: BTreeSet::new(), was_read: false, has_failed: false }
    }

    /// Adds those that are missing, removes ours that are neither wanted nor needed any more. What
    /// fails is told of once; listening fails then, and is tried again.
    pub(super) async fn set(&mut self, wanted: BTreeSet<IpAddr>, needed: BTreeSet<IpAddr>) {
        let Some(device) = self.device.clone() else { return };
        // Loopback addresses are always there.
        let wanted: BTreeSet<IpAddr> =
            wanted.into_iter().filter(|address| !address.is_loopback()).collect();
        if !self.was_read {
            self.was_read = true;
            self.there = left_behind(&device).await;
        }
        let gone = self.there.difference(&wanted).filter(|address| !needed.contains(*address));
        let gone: Vec<IpAddr> = gone.copied().collect();
        for address in gone {
            if self.change("del", address, &device).await {
                self.there.remove(&address);
            }
        }
        let new: Vec<IpAddr> = wanted.difference(&self.there).copied().collect();
        for address in new {
            if self.change("add", address, &device).await {
                self.there.insert(address);
            }
        }
    }

    async fn change(&mut self, verb: &str, address: IpAddr, device: &str) -> bool {
        let (bits, label) = if address.is_ipv4() { (32, true) } else { (128, false) };
        let mut arguments = vec!["addr".to_owned(), verb.to_owned(), format!("{address}/{bits}")];
        arguments.extend(["dev".to_owned(), device.to_owned()]);
        if label && verb == "add" {
            arguments.extend(["label".to_owned(), format!("{device}:{LABEL}")]);
        }
        match ip(&arguments).await {
            Ok(output) if output.status.success() => true,
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                // It is so already.
                let is_done = text.contains("File exists") || text.contains("Cannot assign");
                if !is_done {
                    self.tell(&format!("`ip {}`: {text}", arguments.join(" ")));
                }
                is_done
            }
            Err(error) => {
                self.tell(&format!("`ip` cannot be run (Debian: iproute2): {error}"));
                false
            }
        }
    }

    fn tell(&mut self, what: &str) {
        if !std::mem::replace(&mut self.has_failed, true) {
            tracing::warn!("cluster addresses are not reachable on this node: {what}");
        }
    }
}

async fn ip(arguments: &[String]) -> std::io::Result<Output> {
    Command::new("ip").args(arguments).kill_on_drop(true).output().await
}

/// The addresses that bear our label.
async fn left_behind(device: &str) -> BTreeSet<IpAddr> {
    let label = format!("{device}:{LABEL}");
    let arguments = ["-o", "-4", "addr", "show", "dev", device, "label", &label].map(String::from);
    let Ok(output) = ip(&arguments).await else { return BTreeSet::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after_inet = text.lines().filter_map(|line| line.split("inet ").nth(1));
    after_inet.filter_map(|rest| rest.split(['/', ' ']).next()?.parse().ok()).collect()
}
