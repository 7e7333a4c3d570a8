//! The data plane of Services: connections and datagrams to a cluster address, a node port or a
//! host port reach an endpoint that is ready.
//!
//! Userspace: each is accepted here and passed on, so that an endpoint which refuses is replaced by
//! another before anything was sent, and nothing is asked of the kernel but addresses on a device.
//! (So an application sees the node as its peer, not the client.)
//!
//! It must never end a connection because an endpoint is leaving: what is established goes on until
//! one of its ends closes it; only new ones go elsewhere.
//!
//! Start at [`run`]; [`frontends`] decides what is listened on and who is behind it.

mod addresses;
mod balance;
pub mod frontends;
mod socket;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::addresses::Addresses;
use self::balance::Pool;
pub use self::balance::Strategy;
pub use self::frontends::{HostPort, Listen, Protocol};
use crate::objects::Mirror;

/// Changes that come together are carried out together.
const SETTLE: Duration = Duration::from_millis(10);
/// An address that cannot be listened on is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How services are served on a node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's name, for services that keep traffic on their node.
    pub node: String,
    pub strategy: Strategy,
    /// Where node ports are listened on.
    pub node_addresses: Vec<IpAddr>,
    /// The device that cluster addresses are added to; `None`: they are there already.
    pub device: Option<String>,
}

impl Settings {
    /// Node ports on all addresses, cluster addresses on `lo`.
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            strategy: Strategy::default(),
            node_addresses: vec![Ipv4Addr::UNSPECIFIED.into()],
            device: Some("lo".to_owned()),
        }
    }
}

/// Serves all services, and the host ports of the pods of this node, until it is dropped.
/// Established connections end with it. `serves` is told the revision of the slices that new
/// connections go by.
pub async fn run(
    mut services: Mirror<Service>,
    mut slices: Mirror<EndpointSlice>,
    mut host_ports: watch::Receiver<Vec<HostPort>>,
    settings: Settings,
    serves: watch::Sender<i64>,
) {
    services.synced().await;
    slices.synced().await;
    let mut serving = Serving {
        addresses: Addresses::new(settings.device.clone()),
        open: BTreeMap::new(),
        ending: Vec::new(),
    };
    let mut host_ports_end = false;
    loop {
        let ports = host_ports.borrow_and_update().clone();
        let (wanted, revision) = {
            let seen = slices.read();
            (frontends::frontends(&services.read(), &seen, &ports, &settings), seen.revision)
        };
        let is_unfinished = serving.become_like(wanted, settings.strategy).await;
        serves.send_replace(revision);
        tokio::select! {
            () = services.changed() => {}
            () = slices.changed() => {}
            changed = host_ports.changed(), if !host_ports_end => host_ports_end = changed.is_err(),
            () = tokio::time::sleep(AGAIN), if is_unfinished => {}
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// What is listened on.
struct Serving {
    addresses: Addresses,
    open: BTreeMap<Listen, Open>,
    /// Addresses that nobody wants any more, with the connections that still need them.
    ending: Vec<(IpAddr, Arc<Pool>)>,
}

struct Open {
    pool: Arc<Pool>,
    task: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Serving {
    /// Opens, changes and closes until it is as wanted. True: something is to be done later, because
    /// it could not be opened, or is still needed.
    async fn become_like(&mut self, wanted: frontends::Frontends, strategy: Strategy) -> bool {
        let gone: Vec<Listen> =
            self.open.keys().filter(|listen| !wanted.contains_key(listen)).copied().collect();
        for listen in gone {
            let open = self.open.remove(&listen);
            self.ending.extend(open.map(|open| (listen.address.ip(), open.pool.clone())));
        }
        self.ending.retain(|(_, pool)| pool.is_busy());
        let own = wanted.iter().filter(|(_, frontend)| frontend.is_cluster_address);
        let own = own.map(|(listen, _)| listen.address.ip());
        let needed = self.ending.iter().map(|(address, _)| *address);
        self.addresses.set(own.collect(), needed.collect()).await;
        let mut is_unfinished = !self.ending.is_empty();
        for (listen, frontend) in wanted {
            match self.open.get(&listen) {
                Some(open) if !open.task.is_finished() => open.pool.set(frontend),
                _ => {
                    let pool = Arc::new(Pool::new(frontend, strategy));
                    match open(&listen, pool.clone()).await {
                        Ok(task) => drop(self.open.insert(listen, Open { pool, task })),
                        Err(error) => {
                            is_unfinished = true;
                            tracing::warn!(%listen, "a service cannot be served here: {error}");
                        }
                    }
                }
            }
        }
        is_unfinished
    }
}

async fn open(listen: &Listen, pool: Arc<Pool>) -> std::io::Result<JoinHandle<()>> {
    match listen.protocol {
        Protocol::Tcp => tcp::open(listen.address, pool).await,
        Protocol::Udp => udp::open(listen.address, pool).await,
    }
}
