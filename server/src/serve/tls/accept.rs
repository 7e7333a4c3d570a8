//! The listener's end of a handshake.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::origin;
use super::reload::Reloaded;

/// How long a handshake may take, as etcd has it.
pub(super) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Takes connections through their handshake. Clones share what was read.
#[derive(Clone)]
pub struct Acceptor {
    configs: Arc<Reloaded<Arc<ServerConfig>>>,
    check_remote_address: bool,
}

impl Acceptor {
    pub(super) fn new(configs: Reloaded<Arc<ServerConfig>>, check_remote_address: bool) -> Self {
        Self { configs: Arc::new(configs), check_remote_address }
    }

    /// The handshake, with the files as they are now; `h2` or `http/1.1` is agreed on if the other
    /// side names either. Cancelling it closes the connection.
    ///
    /// # Errors
    /// The handshake failed or took more than [`HANDSHAKE_TIME_MAX`], or the other side's
    /// certificate is not let in.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.configs.now());
        let accepted = async {
            let stream = acceptor.accept(stream).await?;
            if self.check_remote_address {
                origin::check(&stream).await?;
            }
            Ok(stream)
        };
        match tokio::time::timeout(HANDSHAKE_TIME_MAX, accepted).await {
            Ok(accepted) => accepted,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no TLS handshake in time")),
        }
    }
}
