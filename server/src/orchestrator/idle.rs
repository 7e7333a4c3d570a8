//! Connections that nobody uses are closed, so that they do not keep others out.
//!
//! A request is work until its answer has been read to the end: a watch keeps its connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper_util::server::graceful::GracefulConnection;
use sched::apiserver::{Body as Plain, BoxError};
use tokio::sync::watch;

/// What is being done on a connection.
#[derive(Clone, Default)]
pub(super) struct Work(watch::Sender<usize>);

/// One request of it.
pub(super) struct Task(watch::Sender<usize>);

impl Work {
    pub(super) fn begin(&self) -> Task {
        self.0.send_modify(|count| *count += 1);
        Task(self.0.clone())
    }

    /// Resolves when nothing has been done for so long.
    async fn rested(&self, idle_max: Duration) {
        let mut count = self.0.subscribe();
        loop {
            // Never closed: it is our own.
            let _ = count.wait_for(|count| *count == 0).await;
            if tokio::time::timeout(idle_max, count.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Task {
    /// It lasts as long as the answer is there to be read.
    pub(super) fn until_read(self, body: Plain) -> Answer {
        Answer { body, _task: self }
    }
}

/// An answer that keeps its connection at work.
pub(super) struct Answer {
    body: Plain,
    _task: Task,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs a connection to its end, which it is told to come to after `idle_max` without work.
///
/// # Errors
/// It breaks off.
pub(super) async fn until<C: GracefulConnection>(
    connection: C,
    work: Work,
    idle_max: Duration,
) -> Result<(), C::Error> {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = work.rested(idle_max) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response, Version};
    use http_body_util::{BodyExt, Empty, StreamBody};
    use hyper::client::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use hyper_util::server::conn::auto::Builder;
    use tokio::sync::mpsc;

    use super::*;

    const IDLE_MAX: Duration = Duration::from_millis(50);
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_connection_ends_when_nothing_is_asked_and_not_while_an_answer_lasts() {
        // Proves that a connection of HTTP/2 whose one answer is being read is kept, however long
        // that takes, and that it is closed once nobody asks for anything.
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (pieces, receiver) = mpsc::channel::<Result<Frame<Bytes>, BoxError>>(1);
        let receiver = std::sync::Arc::new(tokio::sync::Mutex::new(receiver));
        let work = Work::default();
        let at_work = work.clone();
        let service = service_fn(move |_: Request<hyper::body::Incoming>| {
            let (task, receiver) = (at_work.begin(), receiver.clone());
            async move {
                let pieces = futures::stream::unfold(receiver, |receiver| async move {
                    let piece = receiver.lock().await.recv().await?;
                    Some((piece, receiver))
                });
                let body = Plain::new(StreamBody::new(pieces));
                Ok::<_, Infallible>(Response::new(task.until_read(body)))
            }
        });
        let builder = Builder::new(TokioExecutor::new());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(theirs), service);
        let serving = until(connection, work, IDLE_MAX);
        let asking = async {
            let (mut client, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(ours)).await.unwrap();
            let connection = tokio::spawn(connection);
            let request = Request::builder().version(Version::HTTP_2).uri("http://x/");
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let mut answer = client.send_request(request).await.unwrap().into_body();
            for _ in 0..3 {
                // Longer than it may be idle.
                tokio::time::sleep(4 * IDLE_MAX).await;
                pieces.send(Ok(Frame::data(Bytes::from_static(b"x")))).await.unwrap();
                assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
            }
            drop(pieces);
            assert!(answer.collect().await.unwrap().to_bytes().is_empty());
            // It is the server that ends it: the client could still ask.
            connection.await.unwrap().unwrap();
            drop(client);
        };
        let both = async { tokio::join!(serving, asking) };
        let ended = tokio::time::timeout(PATIENCE, both).await;
        // The client closes its end as soon as it is told to, which may be before the last word.
        let (_, ()) = ended.expect("it is closed");
    }
}
