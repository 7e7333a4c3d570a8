//! Binding every address that was asked for.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};

use tokio::net::{TcpListener, TcpSocket};

use crate::config::{Addresses, Url};

/// Connections that may wait to be accepted; what Linux itself caps by default.
const BACKLOG: u32 = 4096;

/// What one address serves. Several flags may name the same address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Roles {
    pub grpc: bool,
    pub http: bool,
    pub metrics: bool,
    pub peer: bool,
}

impl Roles {
    pub(super) fn is_for_members_alone(self) -> bool {
        self.peer && !(self.grpc || self.http || self.metrics)
    }

    fn is_shared_with_members(self) -> bool {
        self.peer && !self.is_for_members_alone()
    }
}

pub(super) struct Listener {
    pub socket: TcpListener,
    pub roles: Roles,
    /// Connections begin with a TLS handshake.
    pub tls: bool,
}

/// An address that is taken, and where nobody is heard yet.
pub(super) struct Bound {
    socket: TcpSocket,
    url: Url,
    pub roles: Roles,
}

impl Bound {
    /// From now on connections wait here until they are accepted; before, they were refused.
    ///
    /// # Errors
    /// One line naming the address.
    pub(super) fn listen(self) -> Result<Listener, String> {
        let Bound { socket, url, roles } = self;
        let socket = socket.listen(BACKLOG).map_err(|error| format!("listen {url}: {error}"))?;
        tracing::info!(address = %url, "listening for {}", what(roles));
        Ok(Listener { socket, roles, tls: url.is_tls() })
    }
}

/// # Errors
/// One line naming the first address that could not be bound, or that members would share with
/// others. None is left bound then.
pub(super) fn bind_all(addresses: &Addresses) -> Result<Vec<Bound>, String> {
    let roles = roles(addresses);
    // Members believe each other without a token: whoever reaches them there is one.
    if let Some((url, _)) = roles.iter().find(|(_, role)| role.is_shared_with_members()) {
        return Err(format!("listen {url}: members need an address of their own"));
    }
    let bind = |(url, roles): (Url, Roles)| match bind(&url, addresses) {
        Ok(socket) => Ok(Bound { socket, url, roles }),
        Err(error) => Err(format!("listen {url}: {error}")),
    };
    roles.into_iter().map(bind).collect()
}

/// Client addresses serve plain HTTP too, unless it has addresses of its own.
fn roles(addresses: &Addresses) -> BTreeMap<Url, Roles> {
    let mut roles: BTreeMap<Url, Roles> = BTreeMap::new();
    for url in &addresses.listen_client {
        let role = roles.entry(url.clone()).or_default();
        role.grpc = true;
        role.http = addresses.listen_client_http.is_empty();
    }
    for url in &addresses.listen_client_http {
        roles.entry(url.clone()).or_default().http = true;
    }
    for url in &addresses.listen_metrics {
        roles.entry(url.clone()).or_default().metrics = true;
    }
    for url in &addresses.listen_peer {
        roles.entry(url.clone()).or_default().peer = true;
    }
    roles
}

fn what(roles: Roles) -> String {
    let names = [
        (roles.grpc, "clients"),
        (roles.http, "HTTP"),
        (roles.metrics, "metrics"),
        (roles.peer, "members"),
    ];
    let named: Vec<&str> = names.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    named.join(", ")
}

fn bind(url: &Url, addresses: &Addresses) -> std::io::Result<TcpSocket> {
    let address = resolve(url)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As Go always does: a restart must not wait for old connections to time out. That is all that
    // --socket-reuse-address asks for, too.
    socket.set_reuseaddr(true)?;
    if addresses.reuse_port {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    Ok(socket)
}

/// localhost is its IPv4 address if it has one, as in Go.
fn resolve(url: &Url) -> std::io::Result<SocketAddr> {
    let found: Vec<SocketAddr> = (url.host(), url.port_number()?).to_socket_addrs()?.collect();
    let chosen = found.iter().find(|address| address.is_ipv4()).or(found.first()).copied();
    chosen.ok_or_else(|| std::io::Error::other("no such host"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_urls;

    fn addresses(client: &str, http: &str, metrics: &str) -> Addresses {
        let list = |text| parse_urls(text).unwrap();
        Addresses {
            listen_client: list(client),
            listen_client_http: list(http),
            listen_metrics: list(metrics),
            listen_peer: list("http://127.0.0.1:9"),
            advertise_client: vec![],
            advertise_peer: vec![],
            reuse_port: false,
            reuse_address: false,
        }
    }

    #[test]
    fn http_goes_where_it_was_asked_to_go() {
        // Shows that plain HTTP shares the client address until it has one of its own, and that
        // an address named twice is bound once with both roles.
        let one = "http://127.0.0.1:1";
        let shared = roles(&addresses(one, "", ""));
        let role = shared[&parse_urls(one).unwrap()[0]];
        assert!(role.grpc && role.http && !role.metrics && !role.peer);

        let two = "http://127.0.0.1:2";
        let apart = roles(&addresses(one, two, two));
        assert_eq!(apart.len(), 3);
        assert!(!apart[&parse_urls(one).unwrap()[0]].http);
        let role = apart[&parse_urls(two).unwrap()[0]];
        assert!(!role.grpc && role.http && role.metrics);
    }

    #[test]
    fn members_share_no_address() {
        // Shows that an address where members speak takes nobody else, and is named.
        let (one, two) = ("http://127.0.0.1:1", "http://127.0.0.1:9");
        for shared in [addresses(two, "", ""), addresses(one, two, ""), addresses(one, "", two)] {
            let line = bind_all(&shared).err().unwrap();
            assert_eq!(line, format!("listen {two}: members need an address of their own"));
        }
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        // Shows the line that the operator gets when something else listens there.
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", taken.local_addr().unwrap());
        let mut wanted = addresses(&url, "", "");
        wanted.listen_peer.clear();
        let line = bind_all(&wanted).err().unwrap();
        assert!(line.contains(&url) && line.contains("in use"), "{line}");
    }
}
