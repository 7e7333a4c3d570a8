//! The gateway over a WebSocket, for browsers: each text that comes in is a request message, each
//! that goes out a line of the answer. The method is POST, whatever opened the WebSocket.
//!
//! Source: etcd wraps its gateway into `tmc/grpc-websocket-proxy`; headers and the parameters are
//! as there.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::extract::Request;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method as Verb, header};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::Gateway;
use super::answer::WHOLE_BYTES_MAX;
use super::body::Messages;
use super::call::Caller;
use super::metadata::Metadata;
use super::path::Target;

/// The subprotocol that carries a token: browsers cannot set a header.
const BEARER: &str = "Bearer";
/// The cookie that may carry it instead.
const TOKEN_COOKIE: &str = "token";

/// How long a client may take for a line that takes much memory.
const LARGE_LINE_MAX: Duration = Duration::from_secs(600);

/// Texts that are read before the call takes them.
const AHEAD: usize = 4;

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

/// Ends with the answer, or with the client: an answer that never ends is dropped then.
async fn talk(gateway: Gateway, parts: Parts, socket: WebSocket) {
    let (outgoing, incoming) = socket.split();
    let (taker, texts) = mpsc::channel(AHEAD);
    let answering = async {
        let target = Target::of(&parts.uri);
        let metadata = Metadata::of(&with_token(&parts.headers));
        let texts = ReceiverStream::new(texts).map(Ok).boxed();
        let messages = Messages::of_pieces(texts, gateway.json_bytes_max);
        let response = gateway.serve(&Verb::POST, &target, metadata, messages, false).await;
        // Who has gone is not told anything.
        let caller = &gateway.caller;
        if let Some(mut outgoing) = send_lines(caller, outgoing, response.into_body()).await {
            let _ = outgoing.close().await;
        }
    };
    tokio::select! {
        () = answering => {}
        () = read(incoming, taker) => {}
    }
}

/// Reads until the client has gone, whether or not the call takes any more.
async fn read(mut incoming: SplitStream<WebSocket>, taker: mpsc::Sender<Bytes>) {
    while let Some(Ok(message)) = incoming.next().await {
        let text = match message {
            Message::Text(text) => text.into(),
            Message::Binary(bytes) => bytes,
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        // A call that has all it needs drops the rest.
        let _ = taker.send(text).await;
    }
}

/// `None` when nobody takes them any more, or when there is no memory for a line: a text is sent as a
/// whole.
async fn send_lines(
    caller: &Caller,
    mut outgoing: SplitSink<WebSocket, Message>,
    mut body: Body,
) -> Option<SplitSink<WebSocket, Message>> {
    let mut text = BytesMut::new();
    let (mut held, mut held_bytes) = (None, 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        let seen = text.len();
        text.extend_from_slice(&data);
        if text.len() > WHOLE_BYTES_MAX && text.len() > held_bytes {
            // What it holds so far is given back first: two must not wait for each other.
            drop(held.take());
            held_bytes = text.len() * 2;
            held = Some(caller.try_hold(held_bytes)?);
        }
        let mut from = seen;
        while let Some(end) = text[from..].iter().position(|byte| *byte == b'\n') {
            send(&mut outgoing, text.split_to(from + end + 1)).await?;
            from = 0;
        }
        if text.len() <= WHOLE_BYTES_MAX {
            (held, held_bytes) = (None, 0);
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
    let is_large = line.len() > WHOLE_BYTES_MAX;
    let sent = outgoing.send(Message::Text(Utf8Bytes::try_from(line).ok()?));
    match is_large {
        true => timeout(LARGE_LINE_MAX, sent).await.ok()?.ok(),
        false => sent.await.ok(),
    }
}

/// The headers, and a token that came by a way that browsers have.
pub(super) fn with_token(headers: &HeaderMap) -> HeaderMap {
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
