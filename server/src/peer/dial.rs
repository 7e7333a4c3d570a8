//! From a peer URL to a stream of bytes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::{CONNECT_TIME_MAX, HANDSHAKE_TIME_MAX};
use crate::config::{Url, parse_urls};
use crate::serve::tls::Connector;

pub(super) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// Connects to the first of `urls` that can be reached, and says which it was.
///
/// # Errors
/// One line with what was wrong with each.
pub(super) async fn dial(
    urls: &[String],
    tls: Option<&Connector>,
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

async fn dial_one(text: &str, tls: Option<&Connector>) -> io::Result<Stream> {
    let parsed = parse_urls(text).map_err(io::Error::other)?;
    let [url] = parsed.as_slice() else { return Err(io::Error::other("not one URL")) };
    if url.is_unix() {
        return Err(io::Error::other("members are not reached over unix sockets"));
    }
    let tls = tls.filter(|_| url.is_tls());
    if url.is_tls() && tls.is_none() {
        return Err(io::Error::other("this member has no certificate for its peers"));
    }
    let stream = connect(url).await?;
    // A heartbeat must not wait for more to send along.
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Either::Left(stream)) };
    in_time(HANDSHAKE_TIME_MAX, tls.connect(url.host(), stream)).await.map(Either::Right)
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

async fn in_time<T>(
    time_max: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(time_max, work).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {time_max:?}")))
    })
}
