//! Cluster addresses on a device of the node, so that they can be listened on.
//!
//! They bear a label, so that people see whose they are. What an earlier run has left is taken over;
//! addresses that nobody here asked for are left alone: they may be another agent's.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Output;

use tokio::process::Command;

/// What comes after the device's name in the label of our addresses; 15 letters are all there may
/// be.
const LABEL: &str = "berth";

/// What `ip` says when there is nothing to do, with old kernels and new ones.
const ALREADY_SO: [&str; 4] =
    ["File exists", "already assigned", "Cannot assign requested address", "Address not found"];

pub(super) struct Addresses {
    /// `None`: nothing is added or removed.
    device: Option<String>,
    there: BTreeSet<IpAddr>,
    has_failed: bool,
}

impl Addresses {
    pub(super) fn new(device: Option<String>) -> Self {
        Self { device, there: BTreeSet::new(), has_failed: false }
    }

    /// Adds those that are missing, removes ours that are neither wanted nor needed any more. What
    /// fails is told of once; listening fails then, and is tried again.
    pub(super) async fn set(&mut self, wanted: BTreeSet<IpAddr>, needed: BTreeSet<IpAddr>) {
        let Some(device) = self.device.clone() else { return };
        // Loopback addresses are always there.
        let wanted: BTreeSet<IpAddr> =
            wanted.into_iter().filter(|address| !address.is_loopback()).collect();
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
                let is_done = ALREADY_SO.iter().any(|one| text.contains(one));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_come_and_go_with_their_services() {
        // Proves on a device of its own that an address can be listened on once it is added, that
        // one which is there already is as good, and that it stays while it is needed.
        let device = format!("bt{}", std::process::id());
        let link = |verb: &str| ["link", verb, &device, "type", "dummy"].map(String::from);
        let made = ip(&link("add")).await.expect("ip is installed (Debian: iproute2)");
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr).into_owned();
            println!("skipped: the kernel does not permit a device: {why}");
            return;
        }
        let up = ["link", "set", &device, "up"].map(String::from);
        assert!(ip(&up).await.unwrap().status.success());
        let address: IpAddr = "192.0.2.77".parse().unwrap();
        let one = BTreeSet::from([address, "127.0.0.9".parse().unwrap()]);
        let can_bind = || std::net::UdpSocket::bind((address, 0)).is_ok();
        let none = BTreeSet::new;
        let mut first = Addresses::new(Some(device.clone()));
        first.set(one.clone(), none()).await;
        let is_there = can_bind();
        let mut second = Addresses::new(Some(device.clone()));
        second.set(one.clone(), none()).await;
        second.set(none(), one.clone()).await;
        let stays = can_bind();
        second.set(none(), none()).await;
        let is_gone = !can_bind();
        assert!(ip(&link("del")).await.unwrap().status.success());
        assert!(is_there && stays && is_gone, "{is_there} {stays} {is_gone}");
        assert!(!first.has_failed && !second.has_failed);
    }
}
