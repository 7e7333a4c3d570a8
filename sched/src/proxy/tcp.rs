//! Connections: accepted, connected to an endpoint, and copied both ways until both ends are done.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::balance::{Connection, Pool};

/// An endpoint that does not answer within this time is left for another.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Endpoints that are tried for one connection.
const TRIES_MAX: usize = 8;
/// How long to wait when the system has no more sockets.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Begins to serve. Connections live on their own: they outlast the listener.
pub(super) async fn open(address: SocketAddr, pool: Arc<Pool>) -> std::io::Result<JoinHandle<()>> {
    let listener = TcpListener::bind(address).await?;
    Ok(tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((client, peer)) => drop(tokio::spawn(serve(client, peer, pool.clone()))),
                Err(error) => {
                    tracing::debug!(%address, "a connection was not accepted: {error}");
                    tokio::time::sleep(EXHAUSTED).await;
                }
            }
        }
    }))
}

async fn serve(mut client: TcpStream, peer: SocketAddr, pool: Arc<Pool>) {
    let Some((mut server, _connection)) = connect(peer, &pool).await else {
        // A reset, as if nobody listened.
        let _ = client.set_zero_linger();
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    // Either end may close or break: it is told to the other one, and that is all.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

/// A connection to an endpoint that takes it. Nothing was sent to those that did not.
async fn connect(peer: SocketAddr, pool: &Pool) -> Option<(TcpStream, Connection)> {
    let mut tried = Vec::new();
    for _ in 0..TRIES_MAX {
        let connection = pool.choose(peer.ip(), &tried)?;
        match timeout(CONNECT_MAX, TcpStream::connect(connection.endpoint)).await {
            Ok(Ok(server)) => return Some((server, connection)),
            _ => tried.push(connection.endpoint),
        }
    }
    None
}
