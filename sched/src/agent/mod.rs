//! The node agent: runs the pods that are bound to its node, and says how they are.
//!
//! What runs is what the store says, and what a node's runtime has: the agent itself may end at any
//! moment, and the next one goes on where it was. It must never start anything without the node's
//! lease, and never stop anything because it does not know: only what the store has read whole is
//! missing from it.
//!
//! Start at [`run`]: it registers the node (`node.rs`), keeps its lease (`lease.rs`) and has one
//! worker for each pod ([`pod`]: planner, status, worker). [`runtime`] runs containers, [`images`]
//! holds what they are made of, `volumes` what they mount, `dns` answers them for names, [`http`]
//! answers the API server.

pub(crate) mod clock;
mod context;
mod dns;
mod files;
pub mod hollow;
pub(crate) mod http;
pub mod images;
mod lease;
mod leave;
mod machine;
mod manager;
mod node;
pub(crate) mod pod;
mod ports;
mod quantity;
mod resolver;
mod routes;
pub mod runtime;
mod services;
mod steps;
#[cfg(test)]
mod tests;
mod volumes;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use k8s_openapi::jiff::SignedDuration;

use self::pod::backoff::Backoff;
use self::runtime::{Cidr, Runtime};
use crate::discovery::dns::Zone;
use crate::kv::Store;
use crate::objects::Error;

/// How an agent is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's name: a DNS name.
    pub node: String,
    /// Below it are volumes, and what the runtime keeps.
    pub root: PathBuf,
    /// The address that other nodes and the API server reach it at.
    pub address: IpAddr,
    /// Where logs are read and commands run; port 0 is any.
    pub listen: SocketAddr,
    pub labels: BTreeMap<String, String>,
    /// All pods' addresses; the node takes a part of it.
    pub pod_cidr: Cidr,
    /// Seconds after which the node is lost, if it cannot renew its lease.
    pub lease_ttl_s: i64,
    pub capacity: Capacity,
    /// Of the restarts of containers; pods may have their own by annotations.
    pub backoff_first: SignedDuration,
    pub backoff_max: SignedDuration,
    pub log_bytes_max: u64,
    pub log_files_max: u32,
    pub cluster_dns: ClusterDns,
    /// What names of services end with.
    pub cluster_domain: Zone,
    /// How services are served on this node; `None`: they are not.
    pub proxy: Option<crate::proxy::Settings>,
    backoff: Backoff,
}

/// Who answers pods that ask for the names of services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterDns {
    /// The agent, where its pods have their gateway.
    #[default]
    Own,
    At(IpAddr),
    /// Nobody: pods ask whom the node asks.
    Off,
}

impl FromStr for ClusterDns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "off" => Ok(Self::Off),
            _ => text.parse().map(Self::At).map_err(|_| "expected off or an address".to_owned()),
        }
    }
}

/// Instead of what the machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    pub cpu_millis: Option<u64>,
    pub memory_bytes: Option<u64>,
    pub pods: Option<u32>,
}

impl Settings {
    /// An agent with the usual times and sizes.
    pub fn new(node: impl Into<String>, root: PathBuf, address: IpAddr) -> Self {
        let backoff = Backoff::default();
        let node = node.into();
        Self {
            proxy: Some(crate::proxy::Settings::new(node.clone())),
            node,
            root,
            address,
            listen: SocketAddr::new(address, 0),
            labels: BTreeMap::new(),
            pod_cidr: Cidr { network: [10, 244, 0, 0].into(), prefix: 16 },
            lease_ttl_s: 9,
            capacity: Capacity::default(),
            backoff_first: backoff.first,
            backoff_max: backoff.max,
            log_bytes_max: 10 << 20,
            log_files_max: 5,
            cluster_dns: ClusterDns::default(),
            cluster_domain: Zone::cluster_local(),
            backoff,
        }
    }
}

/// Runs an agent until `stop` resolves. Its pods go on without it.
///
/// # Errors
/// The node cannot be registered: another agent has its name, its directory cannot be written, the
/// port is taken. Being unable to reach the store is no error.
pub async fn run(
    store: Store,
    runtime: Arc<dyn Runtime>,
    mut settings: Settings,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    settings.backoff =
        Backoff { first: settings.backoff_first, max: settings.backoff_max, ..Backoff::default() };
    tokio::select! {
        outcome = manager::run(store, runtime, settings) => outcome,
        () = stop => Ok(()),
    }
}

/// Where an agent with this root keeps its images.
pub fn images_below(root: &Path) -> PathBuf {
    runc_below(root).join("images")
}

/// Where an agent with this root keeps what runs without a daemon.
pub fn runc_below(root: &Path) -> PathBuf {
    root.join("runc")
}

/// Where an agent with this root keeps what guards its containers of a Docker engine.
pub fn docker_below(root: &Path) -> PathBuf {
    root.join("docker")
}
