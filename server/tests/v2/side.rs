//! One of two sides that get the same requests: a server, or a cluster.

use http::Response;
use hyper::body::Incoming;
use testkit::{Cluster, Place, Program, Server};

use crate::http::{Answer, Ask, Connection};

/// What both programs need to serve the v2 API.
pub(crate) const FLAGS: &[&str] = &["--enable-v2"];

/// The processes of a side; some tests look at them.
pub(crate) enum Host {
    One(Box<Server>),
    /// Held so that it runs.
    Many {
        _cluster: Cluster,
    },
}

pub(crate) struct Side {
    pub host: Host,
    connections: Vec<Connection>,
}

impl Side {
    pub(crate) async fn start(program: Program, members: usize) -> Side {
        let (host, ports) = if members == 1 {
            let server = Server::start(program, FLAGS).await;
            let port = server.client_port;
            (Host::One(Box::new(server)), vec![port])
        } else {
            let places = (0..members).map(|_| Place::loopback()).collect();
            let cluster = Cluster::start_with(program, places, FLAGS).await;
            let ports = cluster.endpoints().iter().map(|it| port_of(it)).collect();
            (Host::Many { _cluster: cluster }, ports)
        };
        let mut connections = Vec::new();
        for port in ports {
            connections.push(Connection::open(port).await);
        }
        Side { host, connections }
    }

    /// Asks the member at `at`, once it has applied everything before.
    pub(crate) async fn ask(&mut self, at: usize, ask: &Ask) -> Answer {
        self.level(at).await;
        self.connections[at].ask(ask).await
    }

    /// The same, on the connection of the last request.
    pub(crate) async fn ask_same(&mut self, at: usize, ask: &Ask) -> Answer {
        self.connections[at].ask_again(ask).await
    }

    pub(crate) async fn begin(&mut self, at: usize, ask: &Ask) -> Response<Incoming> {
        self.level(at).await;
        self.connections[at].begin(ask).await
    }

    /// From now on over connections that nobody waits on.
    pub(crate) async fn reconnect(&mut self) {
        for connection in &mut self.connections {
            *connection = Connection::open(connection.port()).await;
        }
    }

    /// Of the tree.
    pub(crate) async fn index(&mut self) -> u64 {
        let answer = self.ask(0, &Ask::new("GET", "/v2/keys/")).await;
        answer.number("x-etcd-index")
    }

    async fn level(&mut self, at: usize) {
        if self.connections.len() > 1 {
            let read = Ask::new("GET", "/v2/keys/?quorum=true");
            self.connections[at].ask(&read).await;
        }
    }
}

pub(crate) fn port_of(endpoint: &str) -> u16 {
    endpoint.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Brings the trees of two sides to one index: etcd has written its members there. Both are
/// without nodes then.
pub(crate) async fn align(one: &mut Side, other: &mut Side) {
    let warm = Ask::new("PUT", "/v2/keys/warm").form("value=1");
    let (mut first, mut second) = (one.index().await, other.index().await);
    while first != second || first == 0 {
        let (side, index) =
            if first <= second { (&mut *one, &mut first) } else { (&mut *other, &mut second) };
        *index = side.ask(0, &warm).await.number("x-etcd-index");
    }
    for side in [one, other] {
        side.ask(0, &warm).await;
        side.ask(0, &Ask::new("DELETE", "/v2/keys/warm")).await;
    }
}
