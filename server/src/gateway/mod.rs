//! The JSON gateway: the gRPC services by plain HTTP, at `/v3/...`.
//!
//! A request is a method's request message as JSON; the answer is its answer, or, of a stream, one
//! `{"result": ...}` a line. Which path is which method stands in the `.proto` files, so a method
//! that gets a path there is served here. Calls go to the same services as those over the network,
//! through the same checks, with the credentials that came in the `Authorization` header.
//!
//! This room translates one encoding to another. It must never know what a message means, nor call
//! anything but a gRPC service; and the certificate of its caller's connection must not become a
//! user, as in etcd.
//!
//! Start at [`Gateway::serve`]; paths are in [`table`], JSON in [`json`], calls in [`call`].
//!
//! Source: what etcd 3.4 to 3.7 answer, `server/embed/serve.go`, and grpc-gateway.

mod answer;
mod body;
mod call;
mod cors;
mod error;
#[cfg(any(test, feature = "fuzz"))]
mod fuzz;
mod json;
mod lines;
mod metadata;
mod path;
mod pieces;
mod table;
mod values;
mod verb;
mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::{Method as Verb, StatusCode};
use tonic::Status;

pub use cors::Cors;
#[cfg(any(test, feature = "fuzz"))]
pub use fuzz::request_arbitrary;

use crate::grpc::{CommonName, Context};
use crate::http::error as plain_error;
use body::Messages;
use call::Caller;
use metadata::Metadata;
use path::Target;
use table::{Method, Table};

/// Bytes of JSON for each byte that its message may have: base64 takes a third more, and names the
/// more the smaller the values are.
const JSON_PER_BYTE: usize = 4;

/// The paths, in front of the gRPC services `services`.
pub fn routes(context: &Context, services: Router) -> Router {
    let gateway = Gateway {
        table: Arc::new(Table::new()),
        caller: Caller::new(services),
        json_bytes_max: context.message_bytes_max().saturating_mul(JSON_PER_BYTE),
        context: context.clone(),
    };
    let mut routes = Router::new().route("/v3", any(to_folder));
    for prefix in path::PREFIXES {
        routes =
            routes.route(prefix, any(entrance)).route(&format!("{prefix}{{*rest}}"), any(entrance));
    }
    routes.with_state(gateway)
}

/// Go's routing adds the slash.
async fn to_folder() -> Response {
    path::moved("/v3/")
}

async fn entrance(State(gateway): State<Gateway>, request: Request) -> Response {
    gateway.enter(request).await
}

/// What all requests share. Clones are one.
#[derive(Clone)]
struct Gateway {
    table: Arc<Table>,
    caller: Caller,
    /// Of one message.
    json_bytes_max: usize,
    context: Context,
}

impl Gateway {
    /// Any request to a path of the gateway.
    async fn enter(self, request: Request) -> Response {
        if self.would_be_mistaken(&request) {
            return plain_error(StatusCode::BAD_REQUEST, COMMON_NAME_IGNORED);
        }
        if websocket::is_asked_for(&request) {
            return websocket::serve(self, request).await;
        }
        let (mut parts, mut body) = request.into_parts();
        if let Some(verb) = verb::overridden(&parts) {
            parts.method = verb;
            if matches!(parts.method, Verb::POST | Verb::PUT | Verb::PATCH) {
                // Go reads the form of these; what was one is no message.
                if let Err(wrong) = verb::read_form(body, self.json_bytes_max).await {
                    return plain_error(StatusCode::BAD_REQUEST, &wrong);
                }
                body = Body::empty();
            }
        }
        let messages = Messages::of_body(body, self.json_bytes_max);
        let (target, metadata) = (Target::of(&parts.uri), Metadata::of(&parts.headers));
        self.serve(&parts.method, &target, metadata, messages, true).await
    }

    /// One call, however it came. `counts_lines`: whoever takes the lines of the answer does not.
    async fn serve(
        &self,
        verb: &Verb,
        target: &Target,
        metadata: Result<Metadata, Status>,
        messages: Messages,
        counts_lines: bool,
    ) -> Response {
        let path = match target {
            Target::Path(path) => path,
            Target::Moved(location) => return path::moved(location),
        };
        let Some(method) = self.table.method(path) else {
            return plain_error(StatusCode::NOT_FOUND, "Not Found");
        };
        if verb != Verb::POST {
            return plain_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        }
        match self.call(method, metadata, messages, counts_lines).await {
            Ok(response) => response,
            Err(status) => error::response(&status),
        }
    }

    async fn call(
        &self,
        method: &Arc<Method>,
        metadata: Result<Metadata, Status>,
        messages: Messages,
        counts_lines: bool,
    ) -> Result<Response, Status> {
        let requests = body::requests(method, messages).await?;
        let answers = self.caller.call(method, metadata?, requests).await;
        if method.many_answers {
            Ok(lines::stream(method.clone(), answers?, counts_lines).await)
        } else {
            answer::single(method, answers?).await
        }
    }

    /// Whoever shows a certificate may think that it counts here.
    fn would_be_mistaken(&self, request: &Request) -> bool {
        let name = request.extensions().get::<CommonName>();
        let auth_is_on = || self.context.node().reader().auth().enabled();
        name.is_some_and(|name| !name.is_empty()) && auth_is_on()
    }
}

/// etcd's words.
const COMMON_NAME_IGNORED: &str = "CommonName of client sending a request against gateway will be ignored and not used as expected";

/// 200 with JSON.
fn ok(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, error::JSON);
    headers
        .insert("grpc-metadata-content-type", http::HeaderValue::from_static("application/grpc"));
    response
}
