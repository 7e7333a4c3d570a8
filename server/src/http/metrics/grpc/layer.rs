//! The tower layer that puts the counting bodies in place.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use tower::{Layer, Service};

use super::Counters;
use super::body::{Call, RequestBody};
use super::frames::Frames;
use crate::http::Metrics;

/// Counts gRPC calls, and warns of slow ones.
#[derive(Clone)]
pub struct GrpcLayer {
    counters: Counters,
    slow: Duration,
}

impl GrpcLayer {
    /// `slow`: from when on a unary call earns a warning.
    pub fn new(metrics: &Metrics, slow: Duration) -> Self {
        Self { counters: metrics.0.grpc.clone(), slow }
    }

    /// Begins to count one call of a method that is counted.
    ///
    /// # Panics
    /// If the path is of none.
    pub fn begin(&self, path: &str) -> Call {
        let method = self.counters.find(path).expect("the method is counted");
        Call::start(method, self.slow)
    }
}

impl<S> Layer<S> for GrpcLayer {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, layer: self.clone() }
    }
}

#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    layer: GrpcLayer,
}

impl<S> Service<Request> for Counted<S>
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
        let Some(method) = self.layer.counters.find(request.uri().path()) else {
            return Box::pin(self.inner.call(request));
        };
        let mut call = Call::start(method.clone(), self.layer.slow);
        let request = request
            .map(|inner| Body::new(RequestBody { inner, frames: Frames::default(), method }));
        let answer = self.inner.call(request);
        let steps = call.steps();
        Box::pin(async move {
            let response = steps.scope(answer).await?;
            // An error without a message has its status in the headers.
            call.finish(response.headers());
            Ok(response.map(|inner| call.around(inner)))
        })
    }
}
