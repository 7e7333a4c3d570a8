//! Which endpoint the next connection goes to.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rand::Rng;
use tokio::sync::watch;
use tokio::time::Instant;

use super::frontends::Frontend;

/// Clients whose endpoint is remembered, for each address.
const CLIENTS_MAX: usize = 16 * 1024;

/// How new connections are shared out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    #[default]
    Random,
    /// The endpoint with the fewest connections of this node.
    LeastConnections,
}

/// The endpoints behind one address, as they change.
#[derive(Debug)]
pub(super) struct Pool {
    strategy: Strategy,
    frontend: watch::Sender<Arc<Frontend>>,
    /// Connections by endpoint, also of those that take no new ones.
    connections: Mutex<HashMap<SocketAddr, Arc<AtomicUsize>>>,
    clients: Mutex<HashMap<IpAddr, (SocketAddr, Instant)>>,
}

/// A connection to an endpoint; it counts while this lives.
#[derive(Debug)]
pub(super) struct Connection {
    pub endpoint: SocketAddr,
    count: Arc<AtomicUsize>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    pub(super) fn new(frontend: Frontend, strategy: Strategy) -> Self {
        Self {
            strategy,
            frontend: watch::Sender::new(Arc::new(frontend)),
            connections: Mutex::default(),
            clients: Mutex::default(),
        }
    }

    pub(super) fn set(&self, frontend: Frontend) {
        let mut connections = self.connections.lock();
        connections.retain(|endpoint, count| {
            frontend.endpoints.contains(endpoint) || count.load(Ordering::Relaxed) > 0
        });
        drop(connections);
        self.frontend.send_if_modified(|now| {
            let changed = **now != frontend;
            if changed {
                *now = Arc::new(frontend);
            }
            changed
        });
    }

    /// Whether connections are under way.
    pub(super) fn is_busy(&self) -> bool {
        self.connections.lock().values().any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// Tells of every change.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Frontend>> {
        self.frontend.subscribe()
    }

    /// An endpoint for a client, none of those that were tried. `None`: there is none left.
    pub(super) fn choose(&self, client: IpAddr, tried: &[SocketAddr]) -> Option<Connection> {
        let frontend = self.frontend.borrow().clone();
        let now = Instant::now();
        let open: Vec<SocketAddr> =
            frontend.endpoints.iter().filter(|one| !tried.contains(one)).copied().collect();
        let kept = frontend.affinity.and_then(|kept_for| {
            let clients = self.clients.lock();
            let (endpoint, at) = clients.get(&client)?;
            (now - *at <= kept_for && open.contains(endpoint)).then_some(*endpoint)
        });
        let endpoint = match kept {
            Some(endpoint) => endpoint,
            None => self.any(&open)?,
        };
        if let Some(kept_for) = frontend.affinity {
            self.remember(client, endpoint, now, kept_for);
        }
        let count = self.count(endpoint);
        count.fetch_add(1, Ordering::Relaxed);
        Some(Connection { endpoint, count })
    }

    fn any(&self, open: &[SocketAddr]) -> Option<SocketAddr> {
        if open.is_empty() {
            return None;
        }
        let first = rand::rng().random_range(0..open.len());
        match self.strategy {
            Strategy::Random => Some(open[first]),
            Strategy::LeastConnections => {
                // From a random one on, so that equals take turns.
                let (before, after) = open.split_at(first);
                let all = after.iter().chain(before).copied();
                all.min_by_key(|endpoint| self.count(*endpoint).load(Ordering::Relaxed))
            }
        }
    }

    fn count(&self, endpoint: SocketAddr) -> Arc<AtomicUsize> {
        self.connections.lock().entry(endpoint).or_default().clone()
    }

    fn remember(
        &self,
        client: IpAddr,
        endpoint: SocketAddr,
        now: Instant,
        kept_for: std::time::Duration,
    ) {
        let mut clients = self.clients.lock();
        if clients.len() >= CLIENTS_MAX && !clients.contains_key(&client) {
            clients.retain(|_, (_, at)| now - *at <= kept_for);
            if clients.len() >= CLIENTS_MAX {
                // Many new ones: those that are known are forgotten, and chosen for anew.
                clients.clear();
            }
        }
        clients.insert(client, (endpoint, now));
    }
}
