//! A DNS server for what is registered.
//!
//! It answers from memory alone: followers keep a [`view::View`] of the keys, and a query reads it.
//! No query ever waits for the store, and while the store is away the last known state goes on
//! being served. Wire format, sockets and truncation are hickory's; this room must never touch a
//! byte of a message.
//!
//! Start at [`serve`]; `feed.rs` fills the view, `resolve.rs` turns a name into an outcome by the
//! rules of `services.rs`, `cluster.rs` and `skydns.rs`, `handler.rs` makes a response of it.

mod address;
mod cluster;
mod cluster_model;
mod feed;
pub(super) mod forward;
#[cfg(any(test, feature = "fuzz"))]
mod fuzz;
mod handler;
mod leases;
mod metrics;
mod outcome;
mod resolve;
mod services;
mod skydns;
mod skydns_names;
mod tcp;
mod view;
mod zone;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use hickory_server::Server;
use parking_lot::RwLock;
use tokio::net::{TcpListener, UdpSocket};

use self::feed::Feed;
use self::forward::Forwarder;
pub use self::forward::Resolvers;
#[cfg(any(test, feature = "fuzz"))]
pub use self::fuzz::question_arbitrary;
use self::handler::Handler;
pub use self::metrics::Metrics;
use self::view::View;
pub use self::zone::Zone;
use crate::kv::Store;

/// Where SkyDNS records lie, unless told otherwise.
pub const SKYDNS_PATH: &str = "/skydns";

/// What to answer, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen, each by UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// The domains whose names are answered; at least one. SRV targets are in the first.
    pub zones: Vec<Zone>,
    /// Where SkyDNS records lie, without a slash at the end.
    pub skydns_path: String,
    /// How long clients may keep an answer, in seconds, at most.
    pub ttl_s: u32,
    /// Who is asked for other names.
    pub forward: Resolvers,
}

/// Serves until `stop` resolves.
///
/// # Errors
/// One line: an address cannot be listened on, or a socket failed.
pub async fn serve(
    store: &Store,
    settings: &Settings,
    metrics: Metrics,
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    bind(store, settings, metrics).await?.run(stop).await
}

/// A server that has its addresses. Dropped, it gives them back.
pub struct Bound {
    server: Server<Handler>,
    /// Where questions come by TCP, and who answers them.
    listeners: Vec<TcpListener>,
    handler: Handler,
    feed: Feed,
}

/// Takes the addresses; from then on questions are answered, with SERVFAIL until [`Bound::run`] has
/// listed the names.
///
/// # Errors
/// One line: an address cannot be listened on.
pub async fn bind(store: &Store, settings: &Settings, metrics: Metrics) -> Result<Bound, String> {
    let view = Arc::new(RwLock::new(View::new(&settings.skydns_path)));
    let forwarder = Forwarder::new(settings.forward.clone());
    let handler = Handler::new(
        view.clone(),
        settings.zones.clone(),
        settings.ttl_s,
        forwarder,
        metrics.clone(),
    );
    let mut server = Server::new(handler.clone());
    let mut listeners = Vec::new();
    for address in &settings.listen {
        let fail = |error: std::io::Error| format!("cannot listen on {address}: {error}");
        let udp = UdpSocket::bind(address).await.map_err(fail)?;
        // Port 0 means any, and both are to have the same.
        let bound = udp.local_addr().map_err(fail)?;
        let tcp = TcpListener::bind(bound).await.map_err(fail)?;
        server.register_socket(udp);
        listeners.push(tcp);
        tracing::info!(address = %bound, "answering DNS");
    }
    let feed = Feed::new(store, &settings.skydns_path, view, metrics);
    Ok(Bound { server, listeners, handler, feed })
}

impl Bound {
    /// Serves until `stop` resolves.
    ///
    /// # Errors
    /// One line: a socket failed.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), String> {
        tokio::select! {
            outcome = self.server.block_until_done() => outcome.map_err(|error| error.to_string()),
            () = tcp::serve(self.listeners, &self.handler) => Ok(()),
            () = self.feed.run() => Ok(()),
            () = stop => Ok(()),
        }
    }
}
