//! From a peer URL to a stream of bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::either::Either;

use super::{CONNECT_TIME_MAX, HANDSHAKE_TIME_MAX};
use crate::config::{Url, parse_urls};

/// The TLS configuration for the next connection: certificates may change in between. Its ALPN
/// protocols must name `h2`.
pub type TlsProvider = Arc<dyn Fn() -> Arc<ClientConfig> + Send + Sync>;

pub(super) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// Connects to the first of `urls` that can be reached, and says which it was.
///
/// # Errors
/// One line with what was wrong with each.
pub(super) async fn dial(
    urls: &[String],
    tls: Option<&TlsProvider>,
) -> Result<(Stream, String), String> {
    let mut reasons = Vec::new();
    for url in urls {
        match dial_one(url, tls).await {
            Ok(stream) => return Ok((stream, url.clone())),
            Err(error) => reasons.push(format!("{url}: {error}")),
        }
    }
    if reasons.is_empty() {
        return Err("it has no peer URLs: it is no member".to_owned());
    }
    Err(reasons.join("; "))
}

async fn dial_one(text: &str, tls: Option<&TlsProvider>) -> io::Result<Stream> {
    let parsed = parse_urls(text).map_err(io::Error::other)?;
    let [url] = parsed.as_slice() else { return Err(io::Error::other("not one URL")) };
    if url.is_unix() {
        return Err(io::Error::other("members are not reached over unix sockets"));
    }
    let tls = match (url.is_tls(), tls) {
        (false, _) => None,
        (true, Some(tls)) => Some(tls()),
        (true, None) => return Err(io::Error::other("this member has no TLS for its peers")),
    };
    let stream = connect(url).await?;
    // A heartbeat must not wait for more to send along.
    stream.set_nodelay(true)?;
    match tls {
        None => Ok(Either::Left(stream)),
        Some(config) => Ok(Either::Right(shake_hands(url, config, stream).await?)),
    }
}

/// Tries each address of the host.
async fn connect(url: &Url) -> io::Result<TcpStream> {
    let host = (url.host(), url.port_number()?);
    let addresses: Vec<SocketAddr> = in_time(CONNECT_TIME_MAX, lookup_host(host)).await?.collect();
    let mut last = io::Error::other("no such host");
    for address in addresses {
        match in_time(CONNECT_TIME_MAX, TcpStream::connect(address)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn shake_hands(
    url: &Url,
    config: Arc<ClientConfig>,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(url.host().to_owned()).map_err(io::Error::other)?;
    in_time(HANDSHAKE_TIME_MAX, TlsConnector::from(config).connect(name, stream)).await
}

async fn in_time<T>(
    time_max: std::time::Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(time_max, work).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {time_max:?}")))
    })
}
