//! Ends the streams that only a client would end: when the server stops, and, for clients that
//! asked for it, when there has been no leader for a while.
//!
//! They end with `Unavailable`, which etcd's clients take as "connect again, to another member";
//! an ordinary end of stream would close a watch for good.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tower::{Layer, Service};

use super::leaderless::Leaderless;
use crate::grpc;

/// Streams without an end of their own.
const ENDLESS: [&str; 6] = [
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/v3electionpb.Election/Observe",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Calls that answer once, and may wait for it as long as a stream.
const WAITING: [&str; 2] = ["/v3lockpb.Lock/Lock", "/v3electionpb.Election/Campaign"];

/// etcd's `ErrGRPCStopped`.
const STOPPED: &str = "etcdserver: server stopped";
/// etcd's `ErrGRPCNoLeader`.
const NO_LEADER: &str = "etcdserver: no leader";

/// The layer.
#[derive(Clone)]
pub(super) struct EndStreams {
    pub(super) stopping: CancellationToken,
    pub(super) leaderless: Leaderless,
}

impl<S> Layer<S> for EndStreams {
    type Service = Ending<S>;

    fn layer(&self, inner: S) -> Ending<S> {
        Ending { inner, when: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Ending<S> {
    inner: S,
    when: EndStreams,
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
        let path = request.uri().path();
        let cuts = ENDLESS.contains(&path).then(|| self.when.cuts(request.headers()));
        let patience = WAITING.contains(&path).then(|| self.when.cuts(request.headers()));
        let answer = self.inner.call(request);
        Box::pin(async move {
            if let Some(cuts) = patience {
                return wait(answer, cuts).await;
            }
            let answer = answer.await?;
            Ok(match cuts {
                Some(cuts) => {
                    answer.map(|inner| Body::new(EndingBody { inner: Some(inner), cuts }))
                }
                None => answer,
            })
        })
    }
}

/// The answer, or that it does not come any more.
async fn wait<E>(
    answer: impl Future<Output = Result<Response, E>>,
    mut cuts: Vec<Cut>,
) -> Result<Response, E> {
    tokio::select! {
        answer = answer => answer,
        message = poll_fn(|context| first_reached(&mut cuts, context)) => {
            Ok(Status::unavailable(message).into_http())
        }
    }
}

impl EndStreams {
    /// What ends a stream that was opened with these headers.
    fn cuts(&self, headers: &HeaderMap) -> Vec<Cut> {
        let mut cuts = vec![Cut::new(self.stopping.clone(), STOPPED)];
        if grpc::requires_leader(headers) {
            cuts.push(Cut::new(self.leaderless.current(), NO_LEADER));
        }
        cuts
    }
}

/// A moment, and what is told then.
struct Cut {
    moment: Pin<Box<WaitForCancellationFutureOwned>>,
    message: &'static str,
}

impl Cut {
    fn new(moment: CancellationToken, message: &'static str) -> Self {
        Self { moment: Box::pin(moment.cancelled_owned()), message }
    }
}

/// What is told at the first of these moments.
fn first_reached(cuts: &mut [Cut], context: &mut Context<'_>) -> Poll<&'static str> {
    let mut reached = |cut: &mut Cut| cut.moment.as_mut().poll(context).is_ready();
    match cuts.iter_mut().find_map(|cut| reached(cut).then_some(cut.message)) {
        Some(message) => Poll::Ready(message),
        None => Poll::Pending,
    }
}

/// What waits in the inner body goes out first.
struct EndingBody {
    /// `None` once it was cut.
    inner: Option<Body>,
    cuts: Vec<Cut>,
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
        let Poll::Ready(message) = first_reached(&mut self.cuts, context) else {
            return Poll::Pending;
        };
        self.inner = None;
        Poll::Ready(Some(Ok(Frame::trailers(unavailable(message)))))
    }
}

fn unavailable(message: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("14"));
    trailers.insert("grpc-message", HeaderValue::from_static(message));
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
        let ending = EndStreams { stopping: stopping.clone(), leaderless: Leaderless::default() };
        let routes = Router::new().fallback(endless).layer(ending);
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

    #[tokio::test]
    async fn a_call_that_waits_is_told_that_the_server_stops() {
        // Shows that who waits for a lock does not hold up the end of the server.
        async fn never(_: Request) -> Response {
            futures::future::pending().await
        }
        let stopping = CancellationToken::new();
        let ending = EndStreams { stopping: stopping.clone(), leaderless: Leaderless::default() };
        let routes = Router::new().fallback(never).layer(ending);
        let request = Request::builder().uri(WAITING[0]).body(Body::empty()).unwrap();
        let mut answer = std::pin::pin!(routes.oneshot(request));
        assert!(futures::future::poll_immediate(answer.as_mut()).await.is_none());
        stopping.cancel();
        assert_eq!(answer.await.unwrap().headers()["grpc-status"], "14");
    }

    #[tokio::test]
    async fn only_who_needs_a_leader_is_cut_without_one() {
        // Shows that a loss ends the streams that asked for a leader, once, and no others.
        let leaderless = Leaderless::default();
        let ending =
            EndStreams { stopping: CancellationToken::new(), leaderless: leaderless.clone() };
        let routes = Router::new().fallback(endless).layer(ending);
        let call = async |value: &str| {
            let request = Request::builder().uri(ENDLESS[0]).header("hasleader", value);
            routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().into_body()
        };
        let (mut strict, mut lax) = (call("true").await, call("false").await);
        strict.frame().await.unwrap().unwrap();
        lax.frame().await.unwrap().unwrap();
        leaderless.now();
        let trailers = strict.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-message"], NO_LEADER);
        assert!(futures::future::poll_immediate(lax.frame()).await.is_none());
        let mut later = call("true").await;
        later.frame().await.unwrap().unwrap();
        assert!(futures::future::poll_immediate(later.frame()).await.is_none(), "cut at once");
    }
}
