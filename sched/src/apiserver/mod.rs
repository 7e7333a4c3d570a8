//! The API server: the part of Kubernetes' REST API that kubectl needs, on the objects of a store.
//!
//! One function from request to response ([`ApiServer::handle`]); who listens, with TLS or
//! without, and who the caller is, is decided by others. It must never keep state that the store
//! does not have: any number of these may serve the same store.
//!
//! Start at [`ApiServer::handle`]; `path.rs` says what a request is about, `verbs/` does it.

mod address;
mod admit;
mod audit;
mod body;
mod convert;
mod discovery;
mod escalation;
mod fields;
mod openapi;
mod patch;
mod path;
mod protobuf;
mod query;
mod rbac;
mod respond;
mod review;
mod selector;
mod spdy;
mod start;
mod status;
mod subresource;
mod table;
mod validate;
mod verbs;
mod watch;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;

pub use audit::AuditLog;
#[cfg(any(test, feature = "fuzz"))]
pub use protobuf::fuzz::body_arbitrary;
#[cfg(any(test, feature = "fuzz"))]
pub use spdy::fuzz::frames_arbitrary;

use crate::objects::Objects;
use path::Route;
use query::Query;
use respond::Accept;
use status::{Failure, Result};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What responses carry.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Who asks, as whoever took the connection found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub groups: Vec<String>,
}

impl User {
    /// One who may do everything: the caller in the mode without authentication.
    pub fn master() -> Self {
        let groups = vec!["system:masters".to_owned(), "system:authenticated".to_owned()];
        Self { name: "system:admin".to_owned(), groups }
    }
}

/// Among a request's extensions: it shows a token that nobody has. Whoever sends it takes themself
/// for somebody, and must not be answered as a stranger.
#[derive(Clone, Copy, Debug)]
pub struct UnknownToken;

/// How the API server behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses of Services: the first of a /16, as `10.96.0.0`.
    pub service_network: std::net::Ipv4Addr,
    /// Whether roles and bindings decide who may do what.
    pub rbac: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { service_network: std::net::Ipv4Addr::new(10, 96, 0, 0), rbac: false }
    }
}

/// The API on one store. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    objects: Objects,
    settings: Settings,
    audit: Option<Arc<AuditLog>>,
    bodies: body::Room,
}

/// A request, taken apart.
struct Call {
    user: User,
    query: Query,
    accept: Accept,
    media_type: String,
    /// What the client calls itself: the first word of its `User-Agent`.
    agent: String,
    body: Bytes,
}

impl ApiServer {
    pub fn new(objects: Objects, settings: Settings, audit: Option<AuditLog>) -> Self {
        let (audit, bodies) = (audit.map(Arc::new), body::Room::default());
        Self { inner: Arc::new(Inner { objects, settings, audit, bodies }) }
    }

    /// Makes the namespaces that everybody relies on. Tries until the store answers.
    pub async fn prepare(&self) {
        start::make_namespaces(&self.inner.objects).await;
    }

    fn objects(&self) -> &Objects {
        &self.inner.objects
    }

    fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Answers one request. The caller is the [`User`] among its extensions; without one it is
    /// nobody (`system:anonymous`), or with [`UnknownToken`] refused.
    pub async fn handle<B>(&self, mut request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let user = request.extensions().get::<User>().cloned().unwrap_or_else(|| User {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
        });
        let entry = self.inner.audit.as_ref().map(|audit| audit.begin(&user, &request));
        let upgrade = request.headers().contains_key(http::header::UPGRADE);
        let upgrade = upgrade.then(|| hyper::upgrade::on(&mut request));
        let response = match self.answer(user, request, upgrade).await {
            Ok(response) => response,
            Err(failure) => respond::failure(&failure),
        };
        if let Some(entry) = entry {
            entry.end(response.status());
        }
        response
    }

    async fn answer<B>(
        &self,
        user: User,
        request: Request<B>,
        upgrade: Option<hyper::upgrade::OnUpgrade>,
    ) -> Result<Response<Body>>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        if head.extensions.get::<UnknownToken>().is_some() {
            return Err(Failure::unauthorized());
        }
        let route = path::parse(head.uri.path())?;
        let query = Query::parse(head.uri.query());
        self.authorize(&user, &head.method, &route, &query).await?;
        let target = match route {
            Route::Object(target) => target,
            Route::Review { group, kind } => {
                let body = self.inner.bodies.read_small(body).await?;
                let document = body::document(&body::media_type(&head.headers), &body)?;
                return self.review(&user, &group, &kind, document).await;
            }
            other => return discovery::answer(&other, &head),
        };
        if let Some(upgrade) = upgrade {
            return self.tunnel(&target, &head, upgrade).await;
        }
        let call = Call {
            user,
            query,
            accept: Accept::of(&head.headers),
            media_type: body::media_type(&head.headers),
            agent: body::agent(&head.headers),
            body: self.inner.bodies.read(body).await?,
        };
        self.dispatch(&head.method, target, call).await
    }
}
