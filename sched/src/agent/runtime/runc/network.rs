//! The pods' network: a bridge on the node, and for each pod an address and a pair of ends.
//!
//! `ip` and `iptables` do the work. Addresses are claimed by files, so that they are known to
//! whoever comes after.

use std::io::{ErrorKind, Write};
use std::net::Ipv4Addr;

use sha2::{Digest, Sha256};

use super::command::run;
use super::files::Root;
use crate::agent::runtime::{Cidr, Error, Result, error_while};

/// The node's own address is the first.
const FIRST_OFFSET: u32 = 2;

/// The pods' part of the node's network.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) bridge: String,
    pub(super) cidr: Cidr,
    /// Every node's pods: among them addresses stay as they are.
    pub(super) all: Cidr,
}

impl Network {
    /// Makes the bridge, unless it is there, and lets packets through.
    pub(super) async fn ready(&self) -> Result<()> {
        let bridge = self.bridge.as_str();
        if run("ip", &["link", "show", "dev", bridge]).await.is_err() {
            // A fixed address of hardware: else it would change with every pod.
            let [_, _, a, b] = self.cidr.gateway().octets();
            let hardware = format!("02:be:27:00:{a:02x}:{b:02x}");
            run("ip", &["link", "add", bridge, "address", &hardware, "type", "bridge"]).await?;
        }
        let gateway = format!("{}/{}", self.cidr.gateway(), self.cidr.prefix);
        run("ip", &["address", "replace", &gateway, "dev", bridge]).await?;
        run("ip", &["link", "set", bridge, "up"]).await?;
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")
            .map_err(error_while("turning on forwarding"))?;
        if let Err(error) = self.let_through().await {
            tracing::warn!("pods may not reach other networks: {error}");
        }
        Ok(())
    }

    /// Packets of pods leave the node under its own address, and are not dropped on the way.
    async fn let_through(&self) -> Result<()> {
        let (bridge, cidr) = (self.bridge.as_str(), self.cidr.to_string());
        let all = self.all.to_string();
        let rules: [(&str, &str, Vec<&str>); 3] = [
            ("filter", "FORWARD", vec!["-i", bridge, "-j", "ACCEPT"]),
            ("filter", "FORWARD", vec!["-o", bridge, "-j", "ACCEPT"]),
            (
                "nat",
                "POSTROUTING",
                vec!["-s", &cidr, "!", "-o", bridge, "!", "-d", &all, "-j", "MASQUERADE"],
            ),
        ];
        for (table, chain, rule) in rules {
            let call =
                |action: &'static str| [&["-w", "-t", table, action, chain], &*rule].concat();
            if run("iptables", &call("-C")).await.is_err() {
                run("iptables", &call("-I")).await?;
            }
        }
        Ok(())
    }

    /// Claims an address for a pod; one that it has already, if so.
    pub(super) fn claim(&self, root: &Root, uid: &str) -> Result<Ipv4Addr> {
        let claiming = || error_while("claiming an address");
        let directory = root.addresses();
        std::fs::create_dir_all(&directory).map_err(claiming())?;
        for entry in std::fs::read_dir(&directory).map_err(claiming())?.flatten() {
            let is_own = std::fs::read_to_string(entry.path()).is_ok_and(|owner| owner == uid);
            if let (true, Ok(address)) = (is_own, entry.file_name().to_string_lossy().parse()) {
                return Ok(address);
            }
        }
        for offset in FIRST_OFFSET..self.cidr.size() - 1 {
            let address = self.cidr.address(offset);
            let path = directory.join(address.to_string());
            match std::fs::File::create_new(path) {
                Ok(mut file) => {
                    file.write_all(uid.as_bytes()).map_err(claiming())?;
                    return Ok(address);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(claiming()(error)),
            }
        }
        Err(Error::failed(format!("no address is left in {}", self.cidr)))
    }

    /// Gives the namespaces of `pause` an end of the network.
    pub(super) async fn join(&self, uid: &str, pause: i32, address: Ipv4Addr) -> Result<()> {
        let (outer, inner) = ends(uid);
        // What an earlier try left behind.
        let _ = run("ip", &["link", "delete", &outer]).await;
        let pid = pause.to_string();
        run("ip", &["link", "add", &outer, "type", "veth", "peer", "name", &inner, "netns", &pid])
            .await?;
        run("ip", &["link", "set", &outer, "master", &self.bridge, "up"]).await?;
        let namespace = format!("--net=/proc/{pause}/ns/net");
        let within = |args: &[&str]| {
            let args: Vec<String> = [&[namespace.as_str(), "ip"], args]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect();
            async move { run("nsenter", &args).await }
        };
        let own = format!("{address}/{}", self.cidr.prefix);
        let gateway = self.cidr.gateway().to_string();
        within(&["link", "set", "lo", "up"]).await?;
        let hardware = hardware(address);
        within(&["link", "set", &inner, "name", "eth0", "address", &hardware]).await?;
        within(&["address", "add", &own, "dev", "eth0"]).await?;
        within(&["link", "set", "eth0", "up"]).await?;
        within(&["route", "add", "default", "via", &gateway]).await?;
        Ok(())
    }
}

/// Gives back the address of a pod and its end of the network.
pub(super) async fn leave(root: &Root, uid: &str, address: Option<Ipv4Addr>) {
    // It goes with the namespace, mostly before this.
    let _ = run("ip", &["link", "delete", &ends(uid).0]).await;
    if let Some(address) = address {
        let path = root.addresses().join(address.to_string());
        let is_own = std::fs::read_to_string(&path).is_ok_and(|owner| owner == uid);
        if is_own && let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(%address, "cannot give back an address: {error}");
        }
    }
}

/// The same for the same address: the node remembers for a minute where the pod was that had it
/// before.
fn hardware(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:bf:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Names of at most 15 letters, the same for the same pod.
fn ends(uid: &str) -> (String, String) {
    let digest = Sha256::digest(uid.as_bytes());
    let digits: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    (format!("be{digits}"), format!("bi{digits}"))
}
