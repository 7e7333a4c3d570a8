//! Accepting connections and carrying HTTP/1 and HTTP/2 over each, gRPC among them.

use std::io;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listen::{Listener, Roles};
use super::tls::Tls;
use crate::config::{Limits, Settings};
use crate::grpc::Mended;
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
/// How long a TLS handshake may take.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// A pause after a failed accept: when files run out, only time helps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const _: () = assert!(STREAM_WINDOW_BYTES <= CONNECTION_WINDOW_BYTES);

type Http = Builder<TokioExecutor>;

/// How connections are served. Clones are alike.
#[derive(Clone)]
pub(super) struct Connections {
    for_clients: Http,
    /// For listeners that serve other members alone.
    for_members: Http,
    /// For listeners that want it.
    tls: Option<Tls>,
    stopping: CancellationToken,
}

impl Connections {
    pub(super) fn new(settings: &Settings, tls: Option<Tls>, stopping: CancellationToken) -> Self {
        let for_clients = for_clients(&settings.limits);
        Self { for_clients, for_members: peer::http(), tls, stopping }
    }

    /// Accepts until the server stops; returns when every connection has ended.
    pub(super) async fn serve(self, listener: Listener, routes: Router) {
        let connections = TaskTracker::new();
        while let Some(accepted) = self.stopping.run_until_cancelled(listener.socket.accept()).await
        {
            match accepted {
                Ok((stream, _)) => {
                    let tls = self.tls.as_ref().filter(|_| listener.tls).map(Tls::acceptor);
                    let opened = self.clone().open(stream, tls, listener.roles, routes.clone());
                    connections.spawn(opened);
                }
                Err(error) => pause(&error).await,
            }
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    }

    /// One connection from its first byte to its end.
    async fn open(self, stream: TcpStream, tls: Option<TlsAcceptor>, roles: Roles, routes: Router) {
        // Small answers must not wait for more to send along.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.speak(stream, roles, routes).await };
        match tokio::time::timeout(HANDSHAKE_TIME_MAX, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.speak(stream, roles, routes).await,
            Ok(Err(error)) => tracing::warn!(error = %error, "rejected connection"),
            Err(_) => tracing::warn!("rejected connection: no TLS handshake in time"),
        }
    }

    /// Members get wider windows, and none of the care that old clients need.
    async fn speak<S>(self, stream: S, roles: Roles, routes: Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if roles.peer && !roles.grpc {
            self.carry(&self.for_members, stream, routes).await;
        } else {
            self.carry(&self.for_clients, Mended::new(stream), routes).await;
        }
    }

    /// HTTP on an open stream. When the server stops, requests under way go on and no new ones are
    /// taken.
    async fn carry<S>(&self, http: &Http, stream: S, routes: Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = TowerToHyperService::new(routes);
        let connection = http.serve_connection(TokioIo::new(stream), service);
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

fn for_clients(limits: &Limits) -> Http {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX);
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
