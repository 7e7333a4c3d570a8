//! The gateway over a WebSocket, for browsers: each text that comes in is a request message, each
//! that goes out a line of the answer. The method is POST, whatever opened the WebSocket.
//!
//! Source: etcd wraps its gateway into `tmc/grpc-websocket-proxy`; headers and the parameters are
//! as there.

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::extract::Request;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt, stream};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method as Verb, header};
use http_body_util::BodyExt;

use super::Gateway;
use super::body::Messages;
use super::metadata::Metadata;
use super::path::Target;

/// The subprotocol that carries a token: browsers cannot set a header.
const BEARER: &str = "Bearer";
/// The cookie that may carry it instead.
const TOKEN_COOKIE: &str = "token";

pub(super) fn is_asked_for(request: &Request) -> bool {
    let says = |name, word: &str| {
        let values = request.headers().get_all(name).iter();
        let mut words = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        words.any(|own| own.trim().eq_ignore_ascii_case(word))
    };
    says(header::CONNECTION, "upgrade") && says(header::UPGRADE, "websocket")
}

pub(super) async fn serve(gateway: Gateway, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal.into_response(),
    };
    upgrade
        .protocols([BEARER])
        .max_message_size(gateway.json_bytes_max)
        .on_upgrade(move |socket| talk(gateway, parts, socket))
}

async fn talk(gateway: Gateway, parts: Parts, socket: WebSocket) {
    let (outgoing, incoming) = socket.split();
    let target = Target::of(&parts.uri);
    let metadata = Metadata::of(&with_token(&parts.headers));
    let messages = Messages::of_pieces(texts(incoming).boxed(), gateway.json_bytes_max);
    let response = gateway.serve(&Verb::POST, &target, metadata, messages).await;
    // Who has gone is not told anything.
    if let Some(mut outgoing) = send_lines(outgoing, response.into_body()).await {
        let _ = outgoing.close().await;
    }
}

fn texts(
    incoming: SplitStream<WebSocket>,
) -> impl futures::Stream<Item = Result<Bytes, axum::Error>> {
    stream::unfold(incoming, |mut incoming| async {
        loop {
            match incoming.next().await? {
                Ok(Message::Text(text)) => return Some((Ok(text.into()), incoming)),
                Ok(Message::Binary(bytes)) => return Some((Ok(bytes), incoming)),
                Ok(Message::Close(_)) => return None,
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Err(error) => return Some((Err(error), incoming)),
            }
        }
    })
}

/// `None` when nobody takes them any more.
async fn send_lines(
    mut outgoing: SplitSink<WebSocket, Message>,
    mut body: Body,
) -> Option<SplitSink<WebSocket, Message>> {
    let mut text = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        let seen = text.len();
        text.extend_from_slice(&data);
        let mut from = seen;
        while let Some(end) = text[from..].iter().position(|byte| *byte == b'\n') {
            send(&mut outgoing, text.split_to(from + end + 1)).await?;
            from = 0;
        }
    }
    if !text.is_empty() {
        send(&mut outgoing, text).await?;
    }
    Some(outgoing)
}

async fn send(outgoing: &mut SplitSink<WebSocket, Message>, line: BytesMut) -> Option<()> {
    let mut line = line.freeze();
    if line.ends_with(b"\n") {
        line.truncate(line.len() - 1);
    }
    let text = Utf8Bytes::try_from(line).ok()?;
    outgoing.send(Message::Text(text)).await.ok()
}

/// The headers, and a token that came by a way that browsers have.
fn with_token(headers: &HeaderMap) -> HeaderMap {
    let mut all = headers.clone();
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let protocol = text(header::SEC_WEBSOCKET_PROTOCOL)
        .and_then(|told| told.strip_prefix(BEARER)?.trim_start().strip_prefix(','))
        .map(|token| token.trim().to_owned());
    let cookies = || text(header::COOKIE).unwrap_or_default().split(';');
    let cookie =
        || cookies().find_map(|one| one.trim().strip_prefix(TOKEN_COOKIE)?.strip_prefix('='));
    let token = protocol.or_else(|| cookie().map(str::to_owned));
    if let Some(value) =
        token.and_then(|token| HeaderValue::try_from(format!("{BEARER} {token}")).ok())
    {
        all.insert(header::AUTHORIZATION, value);
    }
    all
}
