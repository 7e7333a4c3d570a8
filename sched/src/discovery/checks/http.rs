//! A page is there.

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::uri::Scheme;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

const PORT: u16 = 80;
const TLS_PORT: u16 = 443;
/// What is read of a page that says what is wrong.
const PAGE_BYTES_MAX: usize = 4096;

/// Asks over a connection of its own: whether new ones are accepted is part of the question.
pub(super) async fn ask(uri: &Uri, tls: Option<&TlsConnector>) -> Result<(), String> {
    let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if is_secure { TLS_PORT } else { PORT });
    let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    if !is_secure {
        return exchange(stream, uri).await;
    }
    let tls = tls.ok_or("whom to trust over TLS is not set")?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = tls.connect(name, stream).await.map_err(|error| error.to_string())?;
    exchange(stream, uri).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    uri: &Uri,
) -> Result<(), String> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let mut answer = std::pin::pin!(question(&mut sender, uri));
    tokio::select! {
        answer = &mut answer => answer,
        // It may end as soon as the answer is in; then that is what the question finds.
        _ = connection => answer.await,
    }
}

async fn question(sender: &mut http1::SendRequest<Empty<Bytes>>, uri: &Uri) -> Result<(), String> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path)
        .header(HOST, authority)
        .header(USER_AGENT, "berth-check")
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    let page = Limited::new(answer.into_body(), PAGE_BYTES_MAX).collect().await;
    let page = page.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Err(format!("{status}: {}", String::from_utf8_lossy(&page).trim()))
}
