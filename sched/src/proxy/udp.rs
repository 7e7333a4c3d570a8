//! Datagrams: each client gets a socket of its own to an endpoint, so that answers find back.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use super::balance::{Connection, Pool};
use super::socket::{Peer, Socket};

/// A client that was silent for so long is forgotten.
const IDLE: Duration = Duration::from_secs(60);
/// How long to wait after a refusal.
const REFUSED: Duration = Duration::from_millis(20);
const CLIENTS_MAX: usize = 4096;
const DATAGRAM_MAX: usize = 65_535;

/// Begins to serve. Clients are forgotten with the listener: datagrams have no end of their own.
pub(super) async fn open(address: SocketAddr, pool: Arc<Pool>) -> std::io::Result<JoinHandle<()>> {
    let socket = Arc::new(Socket::bind(address).await?);
    let flows = Flows { socket, pool, clients: HashMap::new(), answers: JoinSet::new() };
    Ok(tokio::spawn(flows.run()))
}

struct Flows {
    socket: Arc<Socket>,
    pool: Arc<Pool>,
    clients: HashMap<Peer, Flow>,
    /// What comes back, client by client.
    answers: JoinSet<()>,
}

struct Flow {
    server: Arc<UdpSocket>,
    connection: Connection,
    used: Instant,
    answers: AbortHandle,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

impl Flows {
    async fn run(mut self) {
        let mut changes = self.pool.changes();
        let mut tidy = tokio::time::interval(IDLE);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut datagram = vec![0; DATAGRAM_MAX];
        let socket = self.socket.clone();
        loop {
            tokio::select! {
                received = socket.receive(&mut datagram) => match received {
                    Ok((length, client)) => self.pass(client, &datagram[..length]).await,
                    // Of an earlier datagram that found nobody: the next one may.
                    Err(_) => tokio::task::yield_now().await,
                },
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = changes.borrow_and_update().clone();
                    self.clients.retain(|_, flow| now.endpoints.contains(&flow.connection.endpoint));
                }
                _ = tidy.tick() => self.clients.retain(|_, flow| flow.used.elapsed() < IDLE),
                Some(_) = self.answers.join_next() => {}
            }
        }
    }

    async fn pass(&mut self, client: Peer, datagram: &[u8]) {
        let mut tried = Vec::new();
        for _ in 0..2 {
            if !self.clients.contains_key(&client) && !self.begin(client, &tried).await {
                return;
            }
            let Some(flow) = self.clients.get_mut(&client) else { return };
            flow.used = Instant::now();
            if flow.server.send(datagram).await.is_ok() {
                return;
            }
            // Refused: once more, at somebody else if there is one.
            tried.extend(self.clients.remove(&client).map(|flow| flow.connection.endpoint));
        }
    }

    /// Chooses an endpoint for a new client. False: there is none, or no place.
    async fn begin(&mut self, client: Peer, tried: &[SocketAddr]) -> bool {
        if self.clients.len() >= CLIENTS_MAX {
            return false;
        }
        let Some(connection) = self.pool.choose(client.client.ip(), tried) else { return false };
        let Ok(server) = connected(connection.endpoint).await else { return false };
        let server = Arc::new(server);
        let answers = self.answers.spawn(answer(server.clone(), self.socket.clone(), client));
        let flow = Flow { server, connection, used: Instant::now(), answers };
        self.clients.insert(client, flow);
        true
    }
}

async fn connected(endpoint: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: IpAddr = match endpoint {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let server = UdpSocket::bind((any, 0)).await?;
    server.connect(endpoint).await?;
    Ok(server)
}

/// Passes answers on until the client is forgotten.
async fn answer(server: Arc<UdpSocket>, socket: Arc<Socket>, client: Peer) {
    let mut datagram = vec![0; DATAGRAM_MAX];
    loop {
        match server.recv(&mut datagram).await {
            // A client that is gone does not matter to the others.
            Ok(length) => drop(socket.send(&datagram[..length], client).await),
            // Nobody was there for an earlier datagram; somebody may be for the next one.
            Err(_) => tokio::time::sleep(REFUSED).await,
        }
    }
}
