//! Questions over TCP, on no more connections than there is room for.
//!
//! Messages are read and written by hickory; its own listener takes every connection that comes, and
//! with them the files that a store in the same process needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hickory_proto::op::MessageType;
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_server::net::tcp;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandle, TimeoutStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::handler::Handler;

/// Connections at a time, over all addresses; more wait to be accepted.
const CONNECTIONS_MAX: usize = 100;
/// A connection that says nothing for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Answers that may wait for a client that reads slowly.
const ANSWERS_MAX: usize = 32;
/// How long to wait when the system has no more sockets.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Answers on all `listeners`. Never returns; dropped, it ends its connections.
pub(super) async fn serve(listeners: Vec<TcpListener>, handler: &Handler) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accepting = listeners.iter().map(|listener| accept(listener, handler, &room));
    futures::future::join_all(accepting).await;
    // Without a listener.
    std::future::pending::<()>().await;
}

async fn accept(listener: &TcpListener, handler: &Handler, room: &Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    // The room is never closed.
    while let Ok(place) = Arc::clone(room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, client)) => {
                let talk = talk(stream, client, handler.clone());
                connections.spawn(async move {
                    talk.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!("a connection was not accepted: {error}");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// One question after the other, until the client goes, is silent, or sends what is none.
async fn talk(stream: TcpStream, client: SocketAddr, handler: Handler) {
    let stream = AsyncIoTokioAsStd(stream);
    let (stream, answers) =
        tcp::TcpStream::from_stream_with_buffer_size(stream, client, ANSWERS_MAX);
    let mut questions = TimeoutStream::new(stream, IDLE_MAX);
    while let Some(Ok(question)) = questions.next().await {
        let (bytes, _) = question.into_parts();
        let Ok(request) = Request::from_bytes(bytes, client, Protocol::Tcp) else { return };
        // Answers to answers would go in a circle.
        if request.metadata.message_type == MessageType::Query {
            let answer = ResponseHandle::new(client, answers.clone(), Protocol::Tcp);
            handler.handle_request::<_, TokioTime>(&request, answer).await;
        }
    }
}
