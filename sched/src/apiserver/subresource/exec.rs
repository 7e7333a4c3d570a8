//! Running a command in a container: the agent speaks the protocol itself, so what the client
//! and the agent say to each other goes through unchanged.

use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::super::path::Target;
use super::super::query::Query;
use super::super::status::{Failure, Result};
use super::super::{ApiServer, Body, respond};

const REASON_BYTES_MAX: usize = 4096;
/// What belongs to the handshake, both ways.
const HANDSHAKE: [HeaderName; 6] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_ACCEPT,
];
const PASSED: [&str; 5] = ["command", "stdin", "stdout", "stderr", "tty"];

impl ApiServer {
    /// Connects a client that asks for an upgrade with the agent.
    pub(in super::super) async fn tunnel(
        &self,
        target: &Target,
        head: &Parts,
        client: OnUpgrade,
    ) -> Result<Response<Body>> {
        if (target.resource.plural, target.subresource.as_deref()) != ("pods", Some("exec")) {
            return Err(Failure::unknown_path());
        }
        let wants = head.headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
        if !wants.is_some_and(|wants| wants.eq_ignore_ascii_case("websocket")) {
            let message = "exec needs a WebSocket (v5.channel.k8s.io or v4.channel.k8s.io): use \
                           kubectl 1.29 or later";
            return Err(Failure::bad_request(message));
        }
        let query = Query::parse(head.uri.query());
        let (_, container, agent) = self.find_agent(target, query.get("container")).await?;
        let path = path(target, &query, &container);
        let mut request = agent.request(&path);
        for name in HANDSHAKE {
            for value in head.headers.get_all(&name) {
                request = request.header(&name, value);
            }
        }
        let request = request.body(Empty::new());
        let request = request.map_err(|error| Failure::internal(error.to_string()))?;
        let answer = agent.connect().await?.send_request(request).await;
        let mut answer = answer.map_err(|error| Failure::internal(error.to_string()))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let text = Limited::new(answer.into_body(), REASON_BYTES_MAX).collect().await;
            let text = text.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Err(Failure::bad_request(String::from_utf8_lossy(&text).trim().to_owned()));
        }
        let agent = hyper::upgrade::on(&mut answer);
        tokio::spawn(join(client, agent));
        let mut response =
            respond::bytes(StatusCode::SWITCHING_PROTOCOLS, "text/plain", Vec::new());
        response.headers_mut().remove(header::CONTENT_TYPE);
        for name in HANDSHAKE {
            let values: Vec<HeaderValue> =
                answer.headers().get_all(&name).iter().cloned().collect();
            for value in values {
                response.headers_mut().append(name.clone(), value);
            }
        }
        Ok(response)
    }
}

fn path(target: &Target, query: &Query, container: &str) -> String {
    let mut parameters = form_urlencoded::Serializer::new(String::new());
    for name in PASSED {
        for value in query.all(name) {
            parameters.append_pair(name, value);
        }
    }
    let namespace = target.namespace().unwrap_or_default();
    format!("/exec/{namespace}/{}/{container}?{}", target.name(), parameters.finish())
}

/// Carries bytes both ways until one side ends.
async fn join(client: OnUpgrade, agent: OnUpgrade) {
    let (client, agent) = match futures::future::try_join(client, agent).await {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!("an exec did not begin: {error}");
            return;
        }
    };
    let (mut client, mut agent) = (TokioIo::new(client), TokioIo::new(agent));
    // However it ends, it ends for both.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut agent).await;
}
