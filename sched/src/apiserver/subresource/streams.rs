//! A command's streams over SPDY: the same channels that the agent speaks over a WebSocket, each as
//! a stream that the client opens and names by its header `streamtype`.
//!
//! The agent is asked with [`CHANNELS`] for every client, so that the end of its input can be told.
//! Windows are granted and not waited for: the clients of Kubernetes never grant any, and its own
//! servers do not wait either. The connection itself holds back whoever is too fast.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::codec::{FramedRead, FramedWrite};

use super::super::query::Query;
use super::super::spdy::{Decode, Encode, Frame, Headers, Reason};
use super::super::status::Result;

/// What the agent is asked to speak.
pub(super) const CHANNELS: &str = "v5.channel.k8s.io";

/// How long a client may take to open its streams, as at Kubernetes' own servers.
const OPEN_MAX: Duration = Duration::from_secs(30);
/// How long a client may take to close the connection, once all is said.
const LINGER_MAX: Duration = Duration::from_secs(10);
/// Frames that wait for a slow client.
const WAITING_MAX: usize = 16;

/// A connection.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What a stream carries; as a number, what its messages to and from the agent begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    Stdin = 0,
    Stdout = 1,
    Stderr = 2,
    Error = 3,
    Resize = 4,
}

/// Before the number of a channel that is closed.
const CLOSE: u8 = 255;

impl Channel {
    const ALL: [Self; 5] = [Self::Stdin, Self::Stdout, Self::Stderr, Self::Error, Self::Resize];

    fn of(headers: &Headers) -> Option<Self> {
        let (_, name) = headers.iter().find(|(name, _)| name == "streamtype")?;
        Some(match name.as_str() {
            "stdin" => Self::Stdin,
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            "error" => Self::Error,
            "resize" => Self::Resize,
            _ => return None,
        })
    }

    /// Whether the client is the one that sends.
    fn is_input(self) -> bool {
        matches!(self, Self::Stdin | Self::Resize)
    }
}

/// The streams that the client has opened, by their channel.
#[derive(Clone, Copy, Debug, Default)]
struct Streams([Option<u32>; Channel::ALL.len()]);

impl Streams {
    fn get(self, channel: Channel) -> Option<u32> {
        self.0[channel as usize]
    }

    fn channel(self, stream: u32) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| self.get(*channel) == Some(stream))
    }
}

/// Which streams a client opens, by what it asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted([bool; Channel::ALL.len()]);

impl Wanted {
    /// # Errors
    /// A parameter is neither true nor false.
    pub(super) fn of(query: &Query) -> Result<Self> {
        let tty = query.flag("tty")?;
        // A terminal has one output.
        let stderr = query.flag("stderr")? && !tty;
        Ok(Self([query.flag("stdin")?, query.flag("stdout")?, stderr, true, tty]))
    }

    fn are_there(self, streams: Streams) -> bool {
        self.0.iter().zip(streams.0).all(|(wanted, stream)| stream.is_some() || !wanted)
    }
}

/// Carries everything both ways until the command has ended, or the client has gone, which ends it.
pub(super) async fn relay(client: impl Io, agent: impl Io, wanted: Wanted) {
    let (from_client, to_client) = tokio::io::split(client);
    let agent = WebSocketStream::from_raw_socket(agent, Role::Client, None).await;
    let (to_agent, from_agent) = agent.split();
    let (frames, waiting) = mpsc::channel(WAITING_MAX);
    let (open, opened) = oneshot::channel();
    let inward = Inward {
        agent: Some(to_agent),
        frames: frames.clone(),
        streams: Streams::default(),
        wanted,
        open: Some(open),
    };
    let inward = inward.run(FramedRead::new(from_client, Decode::new()));
    tokio::pin!(inward);
    let outward = async {
        tokio::join!(
            send(from_agent, opened, frames),
            write(FramedWrite::new(to_client, Encode::new()), waiting)
        )
    };
    tokio::select! {
        () = &mut inward => return,
        _ = outward => {}
    }
    // Closed while the client still sends, the connection would lose what the client has not read.
    let _ = tokio::time::timeout(LINGER_MAX, inward).await;
}

/// What comes from the client.
struct Inward<A> {
    /// `None`: it takes no more.
    agent: Option<SplitSink<WebSocketStream<A>, Message>>,
    frames: mpsc::Sender<Frame>,
    streams: Streams,
    wanted: Wanted,
    /// Told when all streams are there.
    open: Option<oneshot::Sender<Streams>>,
}

impl<A: Io> Inward<A> {
    /// Resolves when the client has gone, or says what cannot be read.
    async fn run(mut self, mut client: FramedRead<ReadHalf<impl Io>, Decode>) {
        while let Some(frame) = client.next().await {
            match frame {
                Ok(frame) => self.take(frame).await,
                Err(error) => {
                    tracing::debug!("an exec is given up: {error}");
                    return;
                }
            }
        }
    }

    async fn take(&mut self, frame: Frame) {
        match frame {
            Frame::SynStream { stream, headers, fin } => self.begin(stream, &headers, fin).await,
            Frame::Data { stream, bytes, fin } => self.data(stream, bytes, fin).await,
            Frame::RstStream { stream, .. } => {
                if let Some(channel) = self.streams.channel(stream) {
                    self.end(channel).await;
                }
            }
            // The odd ones are the client's own.
            Frame::Ping { id } if id % 2 == 1 => self.answer(Frame::Ping { id }).await,
            Frame::Ping { .. }
            | Frame::SynReply { .. }
            | Frame::GoAway
            | Frame::WindowUpdate { .. } => {}
        }
    }

    async fn begin(&mut self, stream: u32, headers: &Headers, fin: bool) {
        let channel = Channel::of(headers).filter(|channel| self.streams.get(*channel).is_none());
        let is_new = stream % 2 == 1 && self.streams.channel(stream).is_none();
        let Some(channel) = channel.filter(|_| is_new) else {
            return self.refuse(stream, Reason::Refused).await;
        };
        self.streams.0[channel as usize] = Some(stream);
        self.answer(Frame::SynReply { stream }).await;
        if fin {
            self.end(channel).await;
        }
        if self.wanted.are_there(self.streams)
            && let Some(open) = self.open.take()
        {
            // Nobody waits for it when it came too late.
            let _ = open.send(self.streams);
        }
    }

    async fn data(&mut self, stream: u32, bytes: Bytes, fin: bool) {
        let Some(channel) = self.streams.channel(stream) else {
            return self.refuse(stream, Reason::InvalidStream).await;
        };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if length > 0 {
            if channel.is_input() {
                self.pass(message(channel as u8, &bytes)).await;
            }
            for stream in [stream, 0] {
                self.answer(Frame::WindowUpdate { stream, bytes: length }).await;
            }
        }
        if fin {
            self.end(channel).await;
        }
    }

    /// The client says no more there.
    async fn end(&mut self, channel: Channel) {
        if channel == Channel::Stdin {
            self.pass(message(CLOSE, &[channel as u8])).await;
        }
    }

    async fn pass(&mut self, message: Message) {
        if let Some(agent) = &mut self.agent
            && agent.send(message).await.is_err()
        {
            // The command has ended; what it said still counts.
            self.agent = None;
        }
    }

    async fn refuse(&self, stream: u32, reason: Reason) {
        self.answer(Frame::RstStream { stream, reason: reason as u32 }).await;
    }

    async fn answer(&self, frame: Frame) {
        // All is said already: no answer is needed.
        let _ = self.frames.send(frame).await;
    }
}

/// What comes from the agent, once there are streams for it; then the end of each of them.
async fn send(
    mut agent: SplitStream<WebSocketStream<impl Io>>,
    opened: oneshot::Receiver<Streams>,
    frames: mpsc::Sender<Frame>,
) {
    let Ok(Ok(streams)) = tokio::time::timeout(OPEN_MAX, opened).await else {
        tracing::debug!("an exec is given up: its client has not opened all streams");
        let _ = frames.send(Frame::GoAway).await;
        return;
    };
    let mut is_told = false;
    while let Some(Ok(message)) = agent.next().await {
        let mut bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Close(_) => break,
            _ => continue,
        };
        let Some(&number) = bytes.first() else { continue };
        let channel = Channel::ALL.into_iter().find(|channel| *channel as u8 == number);
        let Some(stream) = channel.and_then(|channel| streams.get(channel)) else { continue };
        is_told |= channel == Some(Channel::Error);
        let frame = Frame::Data { stream, bytes: bytes.split_off(1), fin: false };
        if frames.send(frame).await.is_err() {
            return;
        }
    }
    for frame in endings(streams, is_told) {
        if frames.send(frame).await.is_err() {
            return;
        }
    }
}

/// How the conversation ends; if the agent has not told how the command did, with that.
fn endings(streams: Streams, is_told: bool) -> Vec<Frame> {
    let mut frames = Vec::new();
    if let Some(stream) = streams.get(Channel::Error).filter(|_| !is_told) {
        let status = json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": "the connection to the node's agent ended before the command did",
        });
        frames.push(Frame::Data { stream, bytes: status.to_string().into(), fin: false });
    }
    for stream in [Channel::Stdout, Channel::Stderr, Channel::Error].map(|one| streams.get(one)) {
        frames.extend(stream.map(|stream| Frame::Data { stream, bytes: Bytes::new(), fin: true }));
    }
    frames.push(Frame::GoAway);
    frames
}

/// Resolves when the last frame is written, or nobody reads them.
async fn write(
    mut client: FramedWrite<WriteHalf<impl Io>, Encode>,
    mut frames: mpsc::Receiver<Frame>,
) {
    while let Some(frame) = frames.recv().await {
        let is_last = frame == Frame::GoAway;
        if client.send(frame).await.is_err() || is_last {
            return;
        }
    }
}

fn message(number: u8, bytes: &[u8]) -> Message {
    let mut message = BytesMut::with_capacity(bytes.len() + 1);
    message.put_u8(number);
    message.put_slice(bytes);
    Message::Binary(message.freeze())
}

#[cfg(test)]
mod tests;
