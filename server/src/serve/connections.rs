//! Accepting connections and carrying HTTP/1 and HTTP/2 over each, gRPC among them.

use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;
use tower::util::MapRequest;

use super::files;
use super::front::Front;
use super::listen::{Listener, Roles};
use super::tls::{Acceptor, ClientTls, PeerTls, common_name};
use super::wire::Wire;
use crate::config::{Limits, Settings};
use crate::grpc::{CommonName, Reply};
use crate::peer;

/// Bytes that one stream may send before the server has taken them; larger than a request of etcd's
/// default size, so that none waits for a window.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Headers of one request; etcd's clients send a token and little else.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// How long a client of HTTP/1 may take to send its headers.
const HEADER_TIME_MAX: Duration = Duration::from_secs(30);
/// How long anybody may take to say the first bytes of either.
const OPENING_TIME_MAX: Duration = Duration::from_secs(30);
/// A silent connection is looked at after so long, and then so often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A pause after a failed accept: when files run out, only time helps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const _: () = assert!(STREAM_WINDOW_BYTES <= CONNECTION_WINDOW_BYTES);

/// What listeners with `https` use.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) clients: Option<ClientTls>,
    pub(super) members: Option<PeerTls>,
}

impl Tls {
    /// # Errors
    /// One line that names the file that is missing or wrong.
    pub(super) fn open(settings: &Settings) -> Result<Self, String> {
        let clients = settings.client_tls.as_ref().map(ClientTls::open).transpose()?;
        let members = settings.peer_tls.as_ref().map(PeerTls::open).transpose()?;
        Ok(Self { clients, members })
    }

    /// How connections to `listener` begin, if not in the clear.
    fn of(&self, listener: &Listener) -> Option<Handshake> {
        if !listener.tls {
            return None;
        }
        let handshake = if listener.roles.is_for_members_alone() {
            let acceptor = self.members.as_ref().map(|tls| tls.acceptor().clone())?;
            Handshake { acceptor, common_name_is_user: false }
        } else {
            let tls = self.clients.as_ref()?;
            let common_name_is_user = tls.common_name_is_user();
            Handshake { acceptor: tls.acceptor().clone(), common_name_is_user }
        };
        Some(handshake)
    }
}

#[derive(Clone)]
struct Handshake {
    acceptor: Acceptor,
    common_name_is_user: bool,
}

/// A peer that vanished while nothing is sent is noticed by nothing else, unless it speaks HTTP/2.
fn keep_alive(stream: &TcpStream) {
    use rustix::net::sockopt;
    let set = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, KEEP_ALIVE))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE));
    if let Err(error) = set {
        tracing::debug!(%error, "a connection goes without keep-alive");
    }
}

/// Whose connection it is, and the room it takes until it is closed.
struct Guest {
    remote: SocketAddr,
    roles: Roles,
    room: Option<OwnedSemaphorePermit>,
}

type Http = Builder<TokioExecutor>;

/// How connections are served. Clones are alike.
#[derive(Clone)]
pub(super) struct Connections {
    for_clients: Http,
    /// For listeners that serve other members alone.
    for_members: Http,
    tls: Tls,
    stopping: CancellationToken,
    /// For connections of clients, over all addresses.
    room: Arc<Semaphore>,
}

impl Connections {
    pub(super) fn new(settings: &Settings, tls: Tls, stopping: CancellationToken) -> Self {
        let for_clients = for_clients(&settings.limits);
        let room = Arc::new(Semaphore::new(files::connections_max().min(Semaphore::MAX_PERMITS)));
        Self { for_clients, for_members: peer::http(), tls, stopping, room }
    }

    /// Connections that end at another moment.
    pub(super) fn until(self, stopping: CancellationToken) -> Self {
        Self { stopping, ..self }
    }

    /// Accepts until it is time to stop; returns when every connection has ended. Clients past the
    /// bound wait to be accepted until others have gone.
    pub(super) async fn serve(self, listener: Listener, front: Front) {
        let connections = TaskTracker::new();
        let Listener { roles, .. } = listener;
        let handshake = self.tls.of(&listener);
        let next = async || {
            let room = self.room_for(roles).await;
            (room, listener.socket.accept().await)
        };
        while let Some((room, accepted)) = self.stopping.run_until_cancelled(next()).await {
            match accepted {
                Ok((stream, remote)) => {
                    let (handshake, front) = (handshake.clone(), front.clone());
                    let guest = Guest { remote, roles, room };
                    connections.spawn(self.clone().open(stream, guest, handshake, front));
                }
                Err(error) => pause(&error).await,
            }
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    }

    /// Members, and those who look at an address for metrics alone, are few and never wait.
    async fn room_for(&self, roles: Roles) -> Option<OwnedSemaphorePermit> {
        if !(roles.grpc || roles.http) {
            return None;
        }
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    /// One connection from its first byte to its end.
    async fn open(
        self,
        stream: TcpStream,
        guest: Guest,
        handshake: Option<Handshake>,
        front: Front,
    ) {
        // Small answers must not wait for more to send along.
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        let Some(handshake) = handshake else { return self.speak(stream, guest, front).await };
        let stream = match handshake.acceptor.accept(stream).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(remote_addr = %guest.remote, error = %error, "rejected connection");
                return;
            }
        };
        match user_of(&stream).filter(|_| handshake.common_name_is_user) {
            Some(name) => self.speak(stream, guest, named(front, name)).await,
            None => self.speak(stream, guest, front).await,
        }
    }

    /// Members get wider windows, and none of the care that old clients need.
    async fn speak<S, R>(self, stream: S, guest: Guest, answerer: R)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        R: Answers,
    {
        let service = TowerToHyperService::new(answerer);
        let stream = Wire::new(stream, guest.room, OPENING_TIME_MAX);
        if guest.roles.is_for_members_alone() {
            let stream = TokioIo::new(stream);
            self.carry(self.for_members.serve_connection(stream, service)).await;
        } else {
            // A connection may become a WebSocket.
            let stream = TokioIo::new(stream.mended());
            self.carry(self.for_clients.serve_connection_with_upgrades(stream, service)).await;
        }
    }

    /// HTTP on an open stream. When it is time to stop, requests under way go on and no new ones are
    /// taken.
    async fn carry<C: GracefulConnection<Error: Display>>(&self, connection: C) {
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // Clients come and go as they like; only who debugs one wants to know how.
        if let Err(error) = ended {
            tracing::debug!(error = %error, "a connection ended early");
        }
    }
}

/// Who the certificate that was shown says its holder is.
fn user_of(stream: &TlsStream<TcpStream>) -> Option<CommonName> {
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    common_name(leaf).map(|name| CommonName::new(&name))
}

/// What answers the requests of a connection.
trait Answers:
    Service<Request<Incoming>, Response = Response<Reply>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<R> Answers for R where
    R: Service<Request<Incoming>, Response = Response<Reply>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// `front` with every request marked as that of `name`.
fn named(front: Front, name: CommonName) -> impl Answers {
    MapRequest::new(front, move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(name.clone());
        request
    })
}

fn for_clients(limits: &Limits) -> Http {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        // As Go writes them: scripts look for `X-Etcd-Index`.
        .title_case_headers(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.concurrent_streams_max)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout);
    builder
}

async fn pause(error: &io::Error) {
    tracing::warn!(error = %error, "a connection could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
