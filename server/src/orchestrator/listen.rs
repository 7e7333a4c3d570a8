//! Connections of the Kubernetes API: plain on this machine, or with TLS for known callers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use sched::apiserver::{ApiServer, User};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::flags::Flags;
use super::tls::Tls;
use super::users::Tokens;

/// How long a client may take to send its headers, or to shake hands.
const OPENING_MAX: Duration = Duration::from_secs(30);
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
        let whoever = |_: &Request<Incoming>| Some(User::master());
        return serve(stream, api, whoever).await;
    };
    match tokio::time::timeout(OPENING_MAX, tls.accept(stream)).await {
        Ok(Ok((stream, by_certificate))) => {
            let known = move |request: &Request<Incoming>| {
                tokens.user_of(request.headers()).unwrap_or_else(|| by_certificate.clone())
            };
            serve(stream, api, known).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a client of the Kubernetes API was refused"),
        Err(_) => tracing::debug!("a client of the Kubernetes API was too slow"),
    }
}

/// `known` says who sends a request: `None` is nobody.
async fn serve<S, K>(stream: S, api: ApiServer, known: K)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    K: Fn(&Request<Incoming>) -> Option<User> + Clone + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        let api = api.clone();
        if let Some(user) = known(&request) {
            request.extensions_mut().insert(user);
        }
        async move {
            let response: Response<sched::apiserver::Body> = api.handle(request).await;
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(OPENING_MAX);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection of the Kubernetes API ended early");
    }
}
