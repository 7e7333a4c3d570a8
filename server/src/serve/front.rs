//! Where a request goes: the hot unary calls straight to their service, all else to the router.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::Router;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, Version};
use tower::Service;

use crate::grpc::{Reply, Unary, UnaryMethod};

/// What answers the requests of a listener. Clones are alike.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) router: Router,
    /// `None`: it serves no gRPC.
    pub(super) unary: Option<Unary>,
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Reply>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Incoming>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if let Some(unary) = &self.unary
            && is_grpc(&request)
            && let Some(method) = UnaryMethod::of(request.uri().path())
        {
            return unary.clone().answer(method, request).map(Ok).boxed();
        }
        let routed = self.router.call(request);
        routed.map(|answer| answer.map(|response| response.map(Reply::Body))).boxed()
    }
}

/// As etcd tells gRPC from what is for its other endpoints.
fn is_grpc(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    request.version() == Version::HTTP_2
        && request.method() == Method::POST
        && content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
