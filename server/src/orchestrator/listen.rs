//! Connections of the Kubernetes API: plain on this machine, or with TLS for known callers.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use sched::apiserver::{ApiServer, UnknownToken, User};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::flags::Flags;
use super::idle::{self, Work};
use super::tls::Tls;
use super::users::Tokens;

/// How long a client may take to send its headers, or to shake hands.
const OPENING_MAX: Duration = Duration::from_secs(30);
/// How long a connection may be there without a request. (One of HTTP/1 waits for headers then.)
const IDLE_MAX: Duration = Duration::from_secs(300);
/// A silent client is asked whether it is still there after so long, and then so often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Connections at a time; more wait.
const CONNECTIONS_MAX: usize = 4096;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An address that is taken, and who may use it.
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
    tokens: Arc<Tokens>,
}

impl Listener {
    /// # Errors
    /// The address is taken, or a file is missing or wrong.
    pub(super) async fn bind(flags: &Flags) -> Result<Self, String> {
        let tls = match &flags.certificate {
            Some((cert, key)) => Some(Tls::open(cert, key, flags.client_ca.as_deref())?),
            None => None,
        };
        let tokens = match &flags.tokens {
            Some(path) => Tokens::read(path)?,
            None => Tokens::default(),
        };
        let taken = |error: std::io::Error| {
            format!(
                "the address {} of the Kubernetes API cannot be had: {error}; choose another one \
                 with --api-listen",
                flags.listen
            )
        };
        let socket = TcpListener::bind(flags.listen).await.map_err(taken)?;
        let address = socket.local_addr().map_err(taken)?;
        Ok(Self { socket, address, tls, tokens: Arc::new(tokens) })
    }

    /// Whether callers are asked who they are.
    pub(super) fn knows_callers(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves until it is dropped.
    pub(super) async fn run(self, api: ApiServer) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let Ok(place) = room.clone().acquire_owned().await else { return };
            while connections.try_join_next().is_some() {}
            let stream = match self.socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (api, tls, tokens) = (api.clone(), self.tls.clone(), self.tokens.clone());
            connections.spawn(async move {
                let _place = place;
                open(stream, api, tls, tokens).await;
            });
        }
    }
}

async fn open(stream: TcpStream, api: ApiServer, tls: Option<Tls>, tokens: Arc<Tokens>) {
    // Small answers must not wait for more to send along.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        let whoever = |_: &Request<Incoming>| Some(Some(User::master()));
        return serve(stream, api, true, whoever).await;
    };
    match tokio::time::timeout(OPENING_MAX, tls.accept(stream)).await {
        Ok(Ok((stream, by_certificate))) => {
            let known = move |request: &Request<Incoming>| {
                tokens.user_of(request.headers()).or_else(|| by_certificate.clone().map(Some))
            };
            serve(stream, api, false, known).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a client of the Kubernetes API was refused"),
        Err(_) => tracing::debug!("a client of the Kubernetes API was too slow"),
    }
}

/// `known` says who sends a request: `None` is nobody, `Some(None)` one with an unknown token.
async fn serve<S, K>(stream: S, api: ApiServer, is_plain: bool, known: K)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    K: Fn(&Request<Incoming>) -> Option<Option<User>> + Clone + Send + 'static,
{
    let work = Work::default();
    let at_work = work.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (api, task) = (api.clone(), at_work.begin());
        match known(&request) {
            Some(Some(user)) => drop(request.extensions_mut().insert(user)),
            Some(None) => drop(request.extensions_mut().insert(UnknownToken)),
            None => {}
        }
        let is_known = !is_plain || comes_from_here(&request);
        async move {
            let response: Response<sched::apiserver::Body> = match is_known {
                true => api.handle(request).await,
                false => refused(),
            };
            Ok::<_, Infallible>(response.map(|body| task.until_read(body)))
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(OPENING_MAX);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(error) = idle::until(connection, work, IDLE_MAX).await {
        tracing::debug!(%error, "a connection of the Kubernetes API ended early");
    }
}

/// Whether it is from a program of this machine, and not from a web page that a browser of this
/// machine shows: a page's requests say where it is from, or ask for a name of its own.
fn comes_from_here<B>(request: &Request<B>) -> bool {
    if request.headers().contains_key(ORIGIN) {
        return false;
    }
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let authority = named.and_then(|name| name.parse::<Authority>().ok());
    let Some(authority) = authority.or_else(|| request.uri().authority().cloned()) else {
        // HTTP/1.0 may do without, a browser never does.
        return named.is_none();
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn refused() -> Response<sched::apiserver::Body> {
    let text = "the plain Kubernetes API answers programs of this machine alone: no requests of web \
                pages, and no host but localhost\n";
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    let mut response = Response::new(sched::apiserver::Body::new(body.map_err(Into::into)));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_pages_are_strangers() {
        // Proves that a page of another origin is refused, and one behind a name that was made to
        // lead here; and that programs are not, by name or address.
        let from = |host: &str, origin: Option<&str>| {
            let mut request = Request::builder().uri("/api").header(HOST, host);
            if let Some(origin) = origin {
                request = request.header(ORIGIN, origin);
            }
            comes_from_here(&request.body(()).unwrap())
        };
        for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "localhost"] {
            assert!(from(host, None), "{host}");
            assert!(!from(host, Some("http://evil.example")), "{host}");
        }
        assert!(!from("evil.example:8080", None));
        assert!(!from("10.0.0.1:8080", None));
    }
}
