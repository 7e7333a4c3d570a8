//! What is wrong with the wires between members.

use super::{Net, peer_address};

/// One direction between two members, named by their places in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    pub from: usize,
    pub to: usize,
}

impl Net {
    /// From now on nothing that `from` sends reaches `to`. The other direction stays.
    pub fn cut(&self, wire: Wire) {
        self.filter(wire, "");
    }

    /// From now on this part of the packets, from 0 to 1, is lost on the way.
    pub fn lose(&self, wire: Wire, part: f64) {
        self.filter(wire, &format!("-m statistic --mode random --probability {part:.4}"));
    }

    /// Cuts every wire between the members in `group` and those that are not.
    pub fn isolate(&self, group: &[usize]) {
        for inside in group {
            for outside in (0..self.len()).filter(|at| !group.contains(at)) {
                self.cut(Wire { from: *inside, to: outside });
                self.cut(Wire { from: outside, to: *inside });
            }
        }
    }

    /// Pulls the plug of a member's network: whatever its address is, nothing gets in or out.
    pub fn unplug(&self, at: usize) {
        self.set_plug(at, "down");
    }

    /// Puts it back.
    pub fn plug(&self, at: usize) {
        self.set_plug(at, "up");
    }

    fn set_plug(&self, at: usize, state: &str) {
        let line = format!("ip link set p{} {state}", at + 1);
        self.hub().run(&line).expect("Net::new has set it");
    }

    /// Everything reaches everybody again.
    pub fn heal(&self) {
        for at in 0..self.len() {
            self.home(at).run("iptables -w -F INPUT").expect("rules can be removed");
        }
    }

    /// Delays what every member sends to others by about `delay_ms`, and loses `loss_percent` of
    /// it, by the kernel's netem.
    ///
    /// # Errors
    /// When the kernel has no netem.
    pub fn disturb(&self, delay_ms: u32, loss_percent: u32) -> Result<(), String> {
        let jitter_ms = delay_ms / 3;
        (0..self.len()).try_for_each(|at| {
            self.home(at).run(&format!(
                "tc qdisc replace dev peer root netem delay {delay_ms}ms {jitter_ms}ms \
                 loss {loss_percent}%"
            ))
        })
    }

    /// Drops at the receiver, silently: the sender learns nothing, as with a broken switch.
    fn filter(&self, wire: Wire, matching: &str) {
        let source = peer_address(wire.from + 1);
        let rule = format!("iptables -w -A INPUT -i peer -s {source} {matching} -j DROP");
        self.home(wire.to).run(&rule).expect("rules can be added: Net::new has tried");
    }
}
