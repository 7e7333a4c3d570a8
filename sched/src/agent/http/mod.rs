//! What the API server asks of a node: logs of a container, and commands in it.
//!
//! Whoever asks must show the agent's token, which only those with access to the store can read.
//! Who may ask the API server is decided there.
//!
//! Start at [`bind`]; `logs.rs` and `exec.rs` answer.

mod exec;
mod logs;

use std::net::SocketAddr;
use std::sync::Arc;

use ::http::{HeaderMap, StatusCode, header};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::context::Context;
use super::runtime::{Container, Error as RuntimeError, Kind};
use crate::kv::Store;
use crate::objects::notes::{self, AgentNote};
use crate::objects::{Error, ErrorKind, Result};

/// A new token.
pub(super) fn token() -> String {
    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}

/// Tells those who can read the store where to ask, and what the token is.
pub(super) async fn publish(store: &Store, node: &str, note: &AgentNote) -> Result<()> {
    let put = api::etcdserverpb::PutRequest {
        key: notes::agent(node).into(),
        value: note.to_bytes().into(),
        ..Default::default()
    };
    store.put(put).await?;
    Ok(())
}

/// A server that has its port.
pub(super) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

/// # Errors
/// The port is taken.
pub(super) async fn bind(
    address: SocketAddr,
    context: Arc<Context>,
    token: &str,
) -> Result<Server> {
    let fail = |error: std::io::Error| {
        Error::new(ErrorKind::Invalid, format!("cannot listen on {address}: {error}"))
    };
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    let token: Arc<str> = format!("Bearer {token}").into();
    let router = Router::new()
        .route("/logs/{namespace}/{pod}/{container}", get(logs::answer))
        .route("/exec/{namespace}/{pod}/{container}", get(exec::answer))
        .layer(middleware::from_fn_with_state(token, authenticate))
        .route("/healthz", get(|| async { "ok" }))
        .with_state(context);
    Ok(Server { listener, address, router })
}

impl Server {
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) async fn run(self) {
        if let Err(error) = axum::serve(self.listener, self.router).await {
            tracing::error!("the agent's HTTP server has ended: {error}");
        }
    }
}

async fn authenticate(
    State(token): State<Arc<str>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let given = headers.get(header::AUTHORIZATION).map(::http::HeaderValue::as_bytes);
    if given.is_some_and(|given| is_same(given, token.as_bytes())) {
        return next.run(request).await;
    }
    (StatusCode::UNAUTHORIZED, "the agent's token is wanted\n").into_response()
}

/// Takes as long for every wrong token.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let differs = given.iter().zip(token).fold(0, |differs, (a, b)| differs | (a ^ b));
    given.len() == token.len() && differs == 0
}

/// What was asked for is not there, or did not work.
pub(super) struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1 + "\n").into_response()
    }
}

impl From<RuntimeError> for Refusal {
    fn from(error: RuntimeError) -> Self {
        let status = match error.kind {
            Kind::NoSuchContainer => StatusCode::NOT_FOUND,
            Kind::Invalid => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.message)
    }
}

/// The last container of a name in a pod, or the one before it.
async fn find(
    context: &Context,
    namespace: &str,
    pod: &str,
    name: &str,
    previous: bool,
) -> std::result::Result<Container, Refusal> {
    let pods = context.runtime.pods().await?;
    let own = pods.into_iter().filter(|one| one.namespace == namespace && one.name == pod);
    let mut newest = None;
    for pod in own {
        // One that is being removed may have the same name.
        let Some(sandbox) = context.runtime.observe(&pod.uid).await? else { continue };
        let is_newer = |other: &super::runtime::Sandbox| sandbox.created_at > other.created_at;
        if newest.as_ref().is_none_or(is_newer) {
            newest = Some(sandbox);
        }
    }
    let containers = newest.map(|sandbox| sandbox.containers).unwrap_or_default();
    let mut own: Vec<Container> =
        containers.into_iter().filter(|container| container.name == name).collect();
    own.sort_by_key(|container| std::cmp::Reverse(container.attempt));
    let found = own.into_iter().nth(usize::from(previous));
    found.ok_or_else(|| {
        let what = if previous { "previous container" } else { "container" };
        let message = format!("{what} {name:?} of pod {namespace}/{pod} has not been started here");
        Refusal(StatusCode::NOT_FOUND, message)
    })
}

/// Of a query, all values of one name.
fn values<'a>(query: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
}

/// Whether a query has a flag set.
fn is_set(query: &[(String, String)], name: &str) -> bool {
    values(query, name).last().is_some_and(|value| matches!(*value, "true" | "1" | ""))
}

fn parse(query: Option<&str>) -> Vec<(String, String)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}
