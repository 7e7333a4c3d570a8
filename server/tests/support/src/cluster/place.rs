//! Where a member listens.

use crate::net::Namespace;
use crate::ports;

/// Addresses of one member, and the network namespace that it lives in, if it has its own.
#[derive(Clone, Debug)]
pub struct Place {
    /// `HOST:PORT` of the client port.
    pub client: String,
    /// `HOST:PORT` where it listens for other members.
    pub peer: String,
    /// `HOST:PORT` under which other members find it: `peer`, or a proxy before it.
    pub advertised_peer: String,
    pub namespace: Option<Namespace>,
}

impl Place {
    /// Free ports on 127.0.0.1.
    pub fn loopback() -> Self {
        let free = || format!("127.0.0.1:{}", ports::free());
        let peer = free();
        Self { client: free(), advertised_peer: peer.clone(), peer, namespace: None }
    }

    /// The same place, found by other members at `advertised`.
    #[must_use]
    pub fn behind(self, advertised: String) -> Self {
        Self { advertised_peer: advertised, ..self }
    }

    pub(crate) fn client_url(&self) -> String {
        format!("http://{}", self.client)
    }

    /// What the member tells the cluster about itself.
    pub fn advertised_peer_url(&self) -> String {
        format!("http://{}", self.advertised_peer)
    }
}
