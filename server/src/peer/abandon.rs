//! Ending a stream of requests whose answers nobody reads any more.

use std::time::Duration;

use futures::stream::{BoxStream, Stream, StreamExt};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::Connection;

/// How long the other side may take to read on, so that the stream can end in order.
const STUCK_TIME_MAX: Duration = Duration::from_secs(1);

/// Held by whoever reads the answers. Dropping it ends the requests.
pub(super) struct Reader {
    _abandons: DropGuard,
}

/// Ties `requests`, which go over `connection`, to the reader of their answers.
///
/// hyper cannot reset a stream whose window is full once its answers have begun. If it does not
/// end by itself in time, the other side does not read at all, and the connection is cut: what is
/// on its way there must not arrive long after it was given up.
pub(super) fn tie<T: 'static>(
    requests: BoxStream<'static, T>,
    connection: Connection,
) -> (impl Stream<Item = T> + Send, Reader) {
    let abandoned = CancellationToken::new();
    let over = CancellationToken::new();
    let held = over.clone().drop_guard();
    let requests = requests.take_until(abandoned.clone().cancelled_owned()).map(move |request| {
        let _until_dropped = &held;
        request
    });
    let reader = Reader { _abandons: abandoned.clone().drop_guard() };
    tokio::spawn(async move {
        abandoned.cancelled().await;
        if tokio::time::timeout(STUCK_TIME_MAX, over.cancelled()).await.is_err() {
            connection.cut();
        }
    });
    (requests, reader)
}
