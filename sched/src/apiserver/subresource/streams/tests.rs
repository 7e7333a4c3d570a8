//! A client that speaks SPDY and an agent that speaks WebSocket, and what each hears of the other.

use serde_json::Value;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio_util::codec::Framed;

use super::*;

/// Less than is sent at once, so that both sides have to wait.
const PIPE_BYTES: usize = 512;
/// What anything may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Reads what a relay sends, and writes what it hears.
struct Codec(Decode, Encode);

impl tokio_util::codec::Decoder for Codec {
    type Item = Frame;
    type Error = std::io::Error;

    fn decode(&mut self, source: &mut BytesMut) -> std::io::Result<Option<Frame>> {
        self.0.decode(source)
    }
}

impl tokio_util::codec::Encoder<Frame> for Codec {
    type Error = std::io::Error;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> std::io::Result<()> {
        self.1.encode(frame, out)
    }
}

struct Scene {
    client: Framed<DuplexStream, Codec>,
    agent: WebSocketStream<DuplexStream>,
    relay: JoinHandle<()>,
}

impl Scene {
    async fn new(query: &str) -> Self {
        let wanted = Wanted::of(&Query::parse(Some(query))).unwrap();
        let (client, near) = tokio::io::duplex(PIPE_BYTES);
        let (agent, far) = tokio::io::duplex(PIPE_BYTES);
        let relay = tokio::spawn(relay(near, far, wanted));
        let agent = WebSocketStream::from_raw_socket(agent, Role::Server, None).await;
        let client = Framed::new(client, Codec(Decode::new(), Encode::new()));
        Self { client, agent, relay }
    }

    async fn send(&mut self, frame: Frame) {
        tokio::time::timeout(SOON, self.client.send(frame)).await.unwrap().unwrap();
    }

    async fn open(&mut self, stream: u32, name: &str) {
        let headers = vec![("streamtype".to_owned(), name.to_owned())];
        self.send(Frame::SynStream { stream, headers, fin: false }).await;
    }

    /// The next frame but for windows; `None` when the connection is closed.
    async fn hear(&mut self) -> Option<Frame> {
        loop {
            let frame = tokio::time::timeout(SOON, self.client.next()).await.unwrap()?.unwrap();
            if !matches!(frame, Frame::WindowUpdate { .. }) {
                return Some(frame);
            }
        }
    }

    async fn says(&mut self, frame: Frame) {
        assert_eq!(self.hear().await, Some(frame));
    }

    async fn agent_says(&mut self, number: u8, bytes: &[u8]) {
        let sent = self.agent.send(message(number, bytes));
        tokio::time::timeout(SOON, sent).await.unwrap().unwrap();
    }

    async fn agent_hears(&mut self) -> Vec<u8> {
        let heard = tokio::time::timeout(SOON, self.agent.next()).await.unwrap();
        heard.unwrap().unwrap().into_data().to_vec()
    }
}

fn data(stream: u32, bytes: &'static [u8], fin: bool) -> Frame {
    Frame::Data { stream, bytes: Bytes::from_static(bytes), fin }
}

const ALL: &str = "stdin=true&stdout=true&stderr=true";

#[tokio::test]
async fn a_conversation_goes_both_ways_to_its_end() {
    // Proves that input and its end reach the agent, that each output and the status come by their
    // streams, with the end of each, and that the connection ends when the client has closed it.
    let mut scene = Scene::new(ALL).await;
    for (stream, name) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
        scene.open(stream, name).await;
        scene.says(Frame::SynReply { stream }).await;
    }
    scene.send(data(1, b"", true)).await;
    scene.send(data(3, b"in", false)).await;
    scene.send(data(3, b"", true)).await;
    assert_eq!(scene.agent_hears().await, b"\0in");
    assert_eq!(scene.agent_hears().await, [255, 0]);
    scene.send(Frame::Ping { id: 9 }).await;
    scene.says(Frame::Ping { id: 9 }).await;
    for (number, text) in [(1, b"out"), (2, b"err"), (3, b"end")] {
        scene.agent_says(number, text).await;
    }
    scene.agent.close(None).await.unwrap();
    for (stream, text) in [(5, b"out"), (7, b"err"), (1, b"end")] {
        scene.says(data(stream, text, false)).await;
    }
    for stream in [5, 7, 1] {
        scene.says(data(stream, b"", true)).await;
    }
    scene.says(Frame::GoAway).await;
    let Scene { client, relay, .. } = scene;
    drop(client);
    tokio::time::timeout(SOON, relay).await.unwrap().unwrap();
}

#[tokio::test]
async fn output_waits_for_its_streams() {
    // Proves that what the command says before the client has opened all streams is kept for them.
    let mut scene = Scene::new("stdout=true").await;
    scene.agent_says(1, b"early").await;
    scene.open(1, "stdout").await;
    scene.says(Frame::SynReply { stream: 1 }).await;
    scene.open(3, "error").await;
    scene.says(Frame::SynReply { stream: 3 }).await;
    scene.says(data(1, b"early", false)).await;
}

#[tokio::test]
async fn streams_that_mean_nothing_are_refused() {
    // Proves that a stream of no known kind, a second one of a kind, one with a number of the other
    // side and data for none are reset, and that the rest goes on.
    let mut scene = Scene::new(ALL).await;
    scene.open(1, "error").await;
    scene.says(Frame::SynReply { stream: 1 }).await;
    for (stream, name) in [(3, "port"), (5, "error"), (2, "stdin"), (1, "stdin")] {
        scene.open(stream, name).await;
        scene.says(Frame::RstStream { stream, reason: Reason::Refused as u32 }).await;
    }
    scene.send(data(99, b"x", false)).await;
    scene.says(Frame::RstStream { stream: 99, reason: Reason::InvalidStream as u32 }).await;
    scene.open(7, "stdin").await;
    scene.says(Frame::SynReply { stream: 7 }).await;
    scene.send(Frame::RstStream { stream: 7, reason: 5 }).await;
    assert_eq!(scene.agent_hears().await, [255, 0], "a stream that is reset has ended");
}

#[tokio::test]
async fn an_agent_that_goes_away_is_told_of() {
    // Proves that a client learns of it when the command's end will never be known.
    let mut scene = Scene::new("").await;
    scene.open(1, "error").await;
    scene.says(Frame::SynReply { stream: 1 }).await;
    let Scene { agent, .. } = &mut scene;
    agent.get_mut().shutdown().await.unwrap();
    let Some(Frame::Data { stream: 1, bytes, fin: false }) = scene.hear().await else {
        panic!("a status")
    };
    let status: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(status["reason"], "InternalError");
    scene.says(data(1, b"", true)).await;
    scene.says(Frame::GoAway).await;
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_command() {
    // Proves that the agent's connection is closed when the client is gone, or sends what is no
    // SPDY: that ends the command.
    for bytes in [&b""[..], &[0x80, 2, 0, 6, 0, 0, 0, 0]] {
        let Scene { client, mut agent, relay } = Scene::new(ALL).await;
        let mut client = client.into_inner();
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        tokio::time::timeout(SOON, relay).await.unwrap().unwrap();
        let heard = tokio::time::timeout(SOON, agent.next()).await.unwrap();
        assert!(!matches!(heard, Some(Ok(Message::Binary(_)))), "{heard:?}");
    }
}
