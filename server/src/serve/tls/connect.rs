//! The dialer's end of a handshake.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::accept::HANDSHAKE_TIME_MAX;
use super::reload::Reloaded;

/// Takes connections to other members through their handshake. Clones share what was read.
#[derive(Clone)]
pub struct Connector {
    configs: Arc<Reloaded<Arc<ClientConfig>>>,
}

impl Connector {
    pub(super) fn new(configs: Reloaded<Arc<ClientConfig>>) -> Self {
        Self { configs: Arc::new(configs) }
    }

    /// What the next connection is to use, with the files as they are now. Do not keep it: files
    /// change.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.configs.now()
    }

    /// The handshake over a connected `stream` towards `host`, a name or an address without port
    /// and brackets; `h2` is asked for. Cancelling it closes the connection.
    ///
    /// # Errors
    /// `host` is neither, the handshake failed or took more than [`HANDSHAKE_TIME_MAX`], or the
    /// other side's certificate is not good.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connected = TlsConnector::from(self.config()).connect(name, stream);
        match tokio::time::timeout(HANDSHAKE_TIME_MAX, connected).await {
            Ok(connected) => connected,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no TLS handshake in time")),
        }
    }
}
