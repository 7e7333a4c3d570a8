//! What an agent leaves of its pods' network: a bridge and rules, which outlive it on purpose.

use std::process::{Command, Stdio};

/// Removes the bridge and every rule that names it.
pub fn remove_bridge(name: &str) {
    for (table, chain) in [("filter", "FORWARD"), ("nat", "POSTROUTING")] {
        let list = ["-w", "-t", table, "-S", chain];
        let Ok(listed) = Command::new("iptables").args(list).output() else { return };
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        for rule in text.lines().filter(|rule| rule.split(' ').any(|word| word == name)) {
            // `-A CHAIN ...` is how it was made.
            let Some(rule) = rule.strip_prefix("-A ") else { continue };
            let delete = ["-w", "-t", table, "-D"].into_iter().chain(rule.split(' '));
            let _ = Command::new("iptables").args(delete).stderr(Stdio::null()).status();
        }
    }
    let _ = Command::new("ip").args(["link", "delete", name]).stderr(Stdio::null()).status();
}
