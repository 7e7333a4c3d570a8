//! Running a command in a container. The agent speaks the protocol over a WebSocket: with a client
//! that does so too, what both say goes through unchanged; for one that speaks SPDY
//! (`streams.rs`) it is put in other frames.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::super::path::Target;
use super::super::query::Query;
use super::super::status::{Failure, Result};
use super::super::{ApiServer, Body, respond};
use super::streams::{self, Wanted};

const REASON_BYTES_MAX: usize = 4096;
/// What belongs to the handshake of a WebSocket, both ways.
const HANDSHAKE: [HeaderName; 6] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_ACCEPT,
];
const PASSED: [&str; 5] = ["command", "stdin", "stdout", "stderr", "tty"];

const SPDY: &str = "SPDY/3.1";
/// What may be done with its streams; the newest that a client offers is chosen.
const PROTOCOL: &str = "v4.channel.k8s.io";
const PROTOCOL_NAME: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// In which frames a client speaks.
#[derive(Clone, Copy, Debug)]
enum Form {
    WebSocket,
    Spdy(Wanted),
}

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
        let query = Query::parse(head.uri.query());
        let form = Form::of(&head.headers, &query)?;
        let (_, container, agent) = self.find_agent(target, query.get("container")).await?;
        let path = path(target, &query, &container);
        let mut request = agent.request(&path);
        for (name, value) in &form.handshake(&head.headers) {
            request = request.header(name, value);
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
        let headers = form.accept(answer.headers())?;
        tokio::spawn(join(form, client, agent));
        let mut response =
            respond::bytes(StatusCode::SWITCHING_PROTOCOLS, "text/plain", Vec::new());
        *response.headers_mut() = headers;
        Ok(response)
    }
}

impl Form {
    /// # Errors
    /// It is none that is spoken here.
    fn of(headers: &HeaderMap, query: &Query) -> Result<Self> {
        let wants = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
        let wants = wants.unwrap_or_default();
        if wants.eq_ignore_ascii_case("websocket") {
            return Ok(Self::WebSocket);
        }
        if !wants.eq_ignore_ascii_case(SPDY) {
            let message = "exec needs an upgrade to a WebSocket (v5.channel.k8s.io or \
                           v4.channel.k8s.io) or to SPDY/3.1 (v4.channel.k8s.io)";
            return Err(Failure::bad_request(message));
        }
        let offered = headers.get_all(PROTOCOL_NAME).iter().filter_map(|value| value.to_str().ok());
        if !offered.flat_map(|value| value.split(',')).any(|one| one.trim() == PROTOCOL) {
            let message =
                format!("over SPDY, exec speaks {PROTOCOL}: {PROTOCOL_NAME} has to offer it");
            return Err(Failure::bad_request(message));
        }
        Ok(Self::Spdy(Wanted::of(query)?))
    }

    /// What the agent is told.
    fn handshake(self, client: &HeaderMap) -> HeaderMap {
        match self {
            Self::WebSocket => only_handshake(client),
            Self::Spdy(_) => {
                let mut headers = upgrade("websocket");
                let fixed = HeaderValue::from_static;
                headers.insert(header::SEC_WEBSOCKET_VERSION, fixed("13"));
                headers.insert(header::SEC_WEBSOCKET_PROTOCOL, fixed(streams::CHANNELS));
                let key = HeaderValue::try_from(generate_key());
                headers.extend(key.ok().map(|key| (header::SEC_WEBSOCKET_KEY, key)));
                headers
            }
        }
    }

    /// What the client is told.
    ///
    /// # Errors
    /// The agent has taken up something else than it was asked for.
    fn accept(self, agent: &HeaderMap) -> Result<HeaderMap> {
        match self {
            Self::WebSocket => Ok(only_handshake(agent)),
            Self::Spdy(_) => {
                let spoken = agent.get(header::SEC_WEBSOCKET_PROTOCOL);
                if spoken.is_none_or(|spoken| spoken != streams::CHANNELS) {
                    let message = format!("the agent does not speak {}", streams::CHANNELS);
                    return Err(Failure::internal(message));
                }
                let mut headers = upgrade(SPDY);
                headers.insert(PROTOCOL_NAME, HeaderValue::from_static(PROTOCOL));
                Ok(headers)
            }
        }
    }
}

fn only_handshake(headers: &HeaderMap) -> HeaderMap {
    let all = HANDSHAKE.iter().flat_map(|name| {
        headers.get_all(name).iter().map(move |value| (name.clone(), value.clone()))
    });
    let mut kept = HeaderMap::new();
    for (name, value) in all {
        kept.append(name, value);
    }
    kept
}

fn upgrade(to: &'static str) -> HeaderMap {
    HeaderMap::from_iter([
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static(to)),
    ])
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

/// Carries what both say until one side ends.
async fn join(form: Form, client: OnUpgrade, agent: OnUpgrade) {
    let (client, agent) = match futures::future::try_join(client, agent).await {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!("an exec did not begin: {error}");
            return;
        }
    };
    let (mut client, mut agent) = (TokioIo::new(client), TokioIo::new(agent));
    match form {
        // However it ends, it ends for both.
        Form::WebSocket => {
            let _ = tokio::io::copy_bidirectional(&mut client, &mut agent).await;
        }
        Form::Spdy(wanted) => streams::relay(client, agent, wanted).await,
    }
}
