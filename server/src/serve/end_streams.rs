//! Ends the streams that only a client would end, when the server stops.
//!
//! They end with `Unavailable`, which etcd's clients take as "connect again, to another member";
//! an ordinary end of stream would close a watch for good.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::{Layer, Service};

/// Streams without an end of their own.
const ENDLESS: [&str; 3] = [
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/grpc.health.v1.Health/Watch",
];

/// The layer; `stopping` is when.
#[derive(Clone)]
pub(super) struct EndStreams {
    pub(super) stopping: CancellationToken,
}

impl<S> Layer<S> for EndStreams {
    type Service = Ending<S>;

    fn layer(&self, inner: S) -> Ending<S> {
        Ending { inner, stopping: self.stopping.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Ending<S> {
    inner: S,
    stopping: CancellationToken,
}

impl<S> Service<Request> for Ending<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let endless = ENDLESS.contains(&request.uri().path());
        let answer = self.inner.call(request);
        if !endless {
            return Box::pin(answer);
        }
        let stopping = Box::pin(self.stopping.clone().cancelled_owned());
        Box::pin(async move {
            Ok(answer.await?.map(|inner| Body::new(EndingBody { inner: Some(inner), stopping })))
        })
    }
}

/// What waits in the inner body goes out first.
struct EndingBody {
    /// `None` once it was cut.
    inner: Option<Body>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl HttpBody for EndingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if self.stopping.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.inner = None;
        Poll::Ready(Some(Ok(Frame::trailers(stopped()))))
    }
}

/// etcd's `ErrGRPCStopped`.
fn stopped() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("14"));
    trailers.insert("grpc-message", HeaderValue::from_static("etcdserver: server stopped"));
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use futures::StreamExt;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    /// One message, and then nothing for ever.
    async fn endless(_: Request) -> Response {
        let first = futures::stream::iter([Ok::<_, std::convert::Infallible>("message")]);
        Response::new(Body::from_stream(first.chain(futures::stream::pending())))
    }

    #[tokio::test]
    async fn a_watch_ends_so_that_its_client_comes_back() {
        // Shows that what waits is sent, and then Unavailable; other streams are left alone.
        let stopping = CancellationToken::new();
        let routes =
            Router::new().fallback(endless).layer(EndStreams { stopping: stopping.clone() });
        let call = async |path: &str| {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            routes.clone().oneshot(request).await.unwrap().into_body()
        };
        let mut watch = call(ENDLESS[0]).await;
        let mut snapshot = call("/etcdserverpb.Maintenance/Snapshot").await;
        stopping.cancel();
        assert_eq!(watch.frame().await.unwrap().unwrap().into_data().unwrap(), "message");
        let trailers = watch.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "14");
        assert!(watch.frame().await.is_none());

        snapshot.frame().await.unwrap().unwrap();
        let next = futures::future::poll_immediate(snapshot.frame()).await;
        assert!(next.is_none(), "still open");
    }
}
