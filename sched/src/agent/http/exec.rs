//! `GET /exec/NAMESPACE/POD/CONTAINER`: a command in a container, over a WebSocket whose messages
//! begin with the number of a channel (`v5.channel.k8s.io` and `v4`).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ::http::{StatusCode, Uri};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::{Refusal, find, is_set, parse, values};
use crate::agent::context::Context;
use crate::agent::runtime::{Exec, ExecSpec, Result as Ran, State as Running};

const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Of the newer protocol: the channel named by the next byte is closed.
const CLOSE: u8 = 255;
/// What is read of an output at a time.
const CHUNK_BYTES: usize = 32 << 10;
/// How long a client may take to close the connection, once all is said.
const LINGER_MAX: Duration = Duration::from_secs(10);
/// Messages that wait for a slow client.
const WAITING_MAX: usize = 16;

pub(super) async fn answer(
    State(context): State<Arc<Context>>,
    Path((namespace, pod, name)): Path<(String, String, String)>,
    uri: Uri,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Refusal> {
    let query = parse(uri.query());
    let command: Vec<String> = values(&query, "command").into_iter().map(str::to_owned).collect();
    if command.is_empty() {
        return Err(Refusal(StatusCode::BAD_REQUEST, "you must specify at least 1 command".into()));
    }
    let container = find(&context, &namespace, &pod, &name, false).await?;
    if !matches!(container.state, Running::Running { .. }) {
        let message = format!("container {name:?} of pod {namespace}/{pod} does not run");
        return Err(Refusal(StatusCode::BAD_REQUEST, message));
    }
    let spec = ExecSpec { command, stdin: is_set(&query, "stdin"), tty: is_set(&query, "tty") };
    let exec = context.runtime.exec(&container.id, spec).await?;
    Ok(upgrade.protocols(PROTOCOLS).on_upgrade(move |socket| serve(socket, exec)))
}

/// Carries everything until the command has ended, or the client has gone, which ends it.
async fn serve(socket: WebSocket, exec: Exec) {
    let (sink, stream) = socket.split();
    let (messages, outgoing) = mpsc::channel(WAITING_MAX);
    let sending = send(sink, outgoing);
    let Exec { stdin, stdout, stderr, resize, exit } = exec;
    let ending = async move {
        let outputs = async {
            tokio::join!(
                copy(stdout, STDOUT, messages.clone()),
                copy(stderr, STDERR, messages.clone())
            )
        };
        // What it has said comes before how it has ended.
        let (code, _) = tokio::join!(exit, outputs);
        // A client that has gone learns nothing.
        let _ = messages.send(channel(ERROR, &status(&code))).await;
    };
    let receiving = receive(stream, stdin, resize);
    tokio::pin!(receiving);
    tokio::select! {
        () = async { tokio::join!(ending, sending); } => {}
        () = &mut receiving => return,
    }
    // Closed while the client still sends, the connection would lose what the client has not read.
    let _ = tokio::time::timeout(LINGER_MAX, receiving).await;
}

async fn send(mut sink: SplitSink<WebSocket, Message>, mut messages: mpsc::Receiver<Bytes>) {
    while let Some(message) = messages.recv().await {
        if sink.send(Message::Binary(message)).await.is_err() {
            return;
        }
    }
    // kubectl complains of an end without a code.
    let normal = CloseFrame { code: close_code::NORMAL, reason: "".into() };
    let _ = sink.send(Message::Close(Some(normal))).await;
    let _ = sink.close().await;
}

async fn copy(
    output: Option<Pin<Box<dyn AsyncRead + Send>>>,
    number: u8,
    messages: mpsc::Sender<Bytes>,
) {
    let Some(mut output) = output else { return };
    let mut buffer = vec![0; CHUNK_BYTES];
    // The end of a terminal is an error to read.
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        if messages.send(channel(number, &buffer[..count])).await.is_err() {
            return;
        }
    }
}

fn channel(number: u8, bytes: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(bytes.len() + 1);
    message.put_u8(number);
    message.put_slice(bytes);
    message.freeze()
}

/// Resolves when the client has gone.
async fn receive(
    mut stream: SplitStream<WebSocket>,
    mut stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    resize: Option<mpsc::Sender<(u16, u16)>>,
) {
    while let Some(Ok(message)) = stream.next().await {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        match bytes.split_first() {
            Some((&STDIN, input)) => {
                if let Some(pipe) = &mut stdin {
                    let written = async {
                        pipe.write_all(input).await?;
                        pipe.flush().await
                    };
                    // It reads no more; what it says still counts.
                    if written.await.is_err() {
                        stdin = None;
                    }
                }
            }
            Some((&RESIZE, size)) => {
                if let (Some(resize), Some(size)) = (&resize, window(size)) {
                    let _ = resize.send(size).await;
                }
            }
            Some((&CLOSE, [STDIN])) => {
                if let Some(mut pipe) = stdin.take() {
                    let _ = pipe.shutdown().await;
                }
            }
            _ => {}
        }
    }
}

/// Columns and rows.
fn window(size: &[u8]) -> Option<(u16, u16)> {
    let size: serde_json::Value = serde_json::from_slice(size).ok()?;
    let number = |name: &str| size[name].as_u64().and_then(|number| u16::try_from(number).ok());
    Some((number("Width")?, number("Height")?))
}

/// How it ended, as a `Status`.
fn status(code: &Ran<i32>) -> Vec<u8> {
    let status = match code {
        Ok(0) => json!({ "metadata": {}, "status": "Success" }),
        Ok(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        Err(error) => json!({
            "metadata": {}, "status": "Failure", "message": error.message,
            "reason": "InternalError", "code": 500,
        }),
    };
    status.to_string().into_bytes()
}
