//! A network of namespaces: each member in its own, so that links can be cut for real.
//!
//! ```text
//! test (root namespace)                       hub namespace
//!   berth-S-c1  198.18.S.5/30 --- client [m1] peer 198.19.0.1/24 --- p1 |
//!   berth-S-c2  198.18.S.9/30 --- client [m2] peer 198.19.0.2/24 --- p2 | bridge
//! ```
//!
//! Clients reach a member over a link of its own; members reach each other over the bridge. So a
//! partition cuts members from each other and never the test from a member. Needs root and
//! `ip` and `iptables`; where that is not granted [`Net::new`] says why.

mod cuts;
mod namespace;
mod stale;

use std::process::Command;

pub use cuts::Wire;
pub use namespace::Namespace;

use crate::cluster::Place;

/// Each network takes one /24 for its client links: this many can exist on a machine.
const SUBNETS: u8 = 250;
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// Namespaces for members, joined by a bridge. Dropping it removes them.
#[derive(Debug)]
pub struct Net {
    subnet: u8,
    hub: Namespace,
    /// One for each member, from 0.
    homes: Vec<Namespace>,
}

impl Net {
    /// A network for `count` members, all links up.
    ///
    /// # Errors
    /// The command that was not permitted or is not installed, and what it said.
    pub fn new(count: usize) -> Result<Self, String> {
        stale::remove();
        let mut refusal = String::new();
        for subnet in 1..=SUBNETS {
            match Self::build(subnet, count) {
                // Another network has this subnet.
                Err(error) if error.contains("File exists") => refusal = error,
                built => return built,
            }
        }
        Err(refusal)
    }

    fn build(subnet: u8, count: usize) -> Result<Self, String> {
        let hub = Namespace::create(&namespace_name(subnet, "hub"))?;
        let mut net = Self { subnet, hub, homes: Vec::new() };
        net.hub.run("iptables -w -L INPUT")?;
        net.hub.run("ip link add hub type bridge")?;
        net.hub.run("ip link set hub up")?;
        for number in 1..=count {
            net.add_home(number)?;
        }
        Ok(net)
    }

    fn add_home(&mut self, number: usize) -> Result<(), String> {
        let home = Namespace::create(&namespace_name(self.subnet, &format!("m{number}")))?;
        let (outside, inside) = self.client_addresses(number);
        let (name, hub) = (home.name().to_owned(), self.hub.name().to_owned());
        let link = format!("berth-{}-c{number}", self.subnet);
        self.homes.push(home);
        run(&format!("ip link add {link} type veth peer name client netns {name}"))?;
        run(&format!("ip addr add {outside}/30 dev {link}"))?;
        run(&format!("ip link set {link} up"))?;
        run(&format!("ip -n {name} link set lo up"))?;
        run(&format!("ip -n {name} addr add {inside}/30 dev client"))?;
        run(&format!("ip -n {name} link set client up"))?;
        run(&format!("ip -n {hub} link add p{number} type veth peer name peer netns {name}"))?;
        run(&format!("ip -n {hub} link set p{number} master hub"))?;
        run(&format!("ip -n {hub} link set p{number} up"))?;
        run(&format!("ip -n {name} addr add {}/24 dev peer", peer_address(number)))?;
        run(&format!("ip -n {name} link set peer up"))
    }

    /// The addresses of both ends of a member's client link: the test's and the member's.
    fn client_addresses(&self, number: usize) -> (String, String) {
        let base = format!("198.18.{}", self.subnet);
        (format!("{base}.{}", 4 * number + 1), format!("{base}.{}", 4 * number + 2))
    }

    /// The network that a member lives in, and its address among the others.
    pub fn member(&self, at: usize) -> (&Namespace, String) {
        (self.home(at), peer_address(at + 1))
    }

    /// Where each member lives.
    pub fn places(&self) -> Vec<Place> {
        let numbers = 1..=self.homes.len();
        numbers
            .zip(&self.homes)
            .map(|(number, home)| {
                let peer = format!("{}:{PEER_PORT}", peer_address(number));
                Place {
                    client: format!("{}:{CLIENT_PORT}", self.client_addresses(number).1),
                    advertised_peer: peer.clone(),
                    peer,
                    namespace: Some(home.clone()),
                }
            })
            .collect()
    }

    pub(crate) fn home(&self, at: usize) -> &Namespace {
        &self.homes[at]
    }

    pub(crate) fn hub(&self) -> &Namespace {
        &self.hub
    }

    pub(crate) fn len(&self) -> usize {
        self.homes.len()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for namespace in self.homes.iter().chain([&self.hub]) {
            namespace.delete();
        }
    }
}

/// Members' addresses among each other. The same in every network: none can see another's.
pub(crate) fn peer_address(number: usize) -> String {
    format!("198.19.0.{number}")
}

/// Names the process that owns the network, so that a later run can tell what was left behind.
fn namespace_name(subnet: u8, what: &str) -> String {
    format!("berth-{subnet}-{}-{what}", std::process::id())
}

/// Runs a command line of plain words.
pub(crate) fn run(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command line names a program");
    let output = Command::new(program).args(words).output();
    let output = output.map_err(|error| format!("`{program}` cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`{line}` failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
