//! Clients that ask without a pause to speak of, and count what they get.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Longer than an answer takes on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Between two questions of one client.
const PAUSE: Duration = Duration::from_millis(3);

/// How a client asks.
#[derive(Clone, Copy)]
pub(super) enum Manner {
    /// On a new connection each time.
    Anew(&'static str),
    /// On the same one, as long as it is there.
    Kept,
}

/// What all clients found.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) failed: Vec<String>,
    /// Questions asked once more: the connection that was kept had ended without a word. Any client
    /// does so (RFC 9112, 9.3.1).
    pub(super) repeated: u64,
    pub(super) connections_kept: u64,
}

/// Clients that go on until they are told to end.
pub(super) struct Load {
    clients: JoinSet<Tally>,
    answered: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

struct Client {
    manner: Manner,
    addresses: Vec<SocketAddr>,
    answered: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    tally: Tally,
    kept: Option<TcpStream>,
}

impl Load {
    pub(super) fn new() -> Self {
        Self { clients: JoinSet::new(), answered: Arc::default(), is_over: Arc::default() }
    }

    /// So many more, each of which asks at all the addresses in turn.
    pub(super) fn add(&mut self, count: usize, manner: Manner, addresses: &[SocketAddr]) {
        for _ in 0..count {
            let client = Client {
                manner,
                addresses: addresses.to_vec(),
                answered: self.answered.clone(),
                is_over: self.is_over.clone(),
                tally: Tally::default(),
                kept: None,
            };
            self.clients.spawn(client.run());
        }
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) async fn end(mut self) -> Tally {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        while let Some(tally) = self.clients.join_next().await {
            let Tally { failed, repeated, connections_kept } = tally.unwrap();
            all.failed.extend(failed);
            all.repeated += repeated;
            all.connections_kept += connections_kept;
        }
        all
    }
}

impl Client {
    async fn run(mut self) -> Tally {
        for address in self.addresses.clone().into_iter().cycle() {
            if self.is_over.load(Ordering::Relaxed) {
                break;
            }
            let asked = timeout(ANSWER_MAX, self.ask(address)).await;
            match asked.unwrap_or_else(|_| Err("no answer".into())) {
                Ok(()) => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
                Err(why) => {
                    self.kept = None;
                    self.tally.failed.push(format!("{address}: {why}"));
                }
            }
            sleep(PAUSE).await;
        }
        self.tally
    }

    async fn ask(&mut self, address: SocketAddr) -> Result<(), String> {
        match self.manner {
            Manner::Anew(path) => ask_anew(address, path).await,
            Manner::Kept => self.ask_kept(address).await,
        }
    }

    async fn ask_kept(&mut self, address: SocketAddr) -> Result<(), String> {
        if let Some(mut stream) = self.kept.take() {
            match ask_on(&mut stream).await {
                Ok(()) => {
                    self.kept = Some(stream);
                    return Ok(());
                }
                Err(Lost::InAnswer(why)) => return Err(why),
                Err(Lost::Before) => self.tally.repeated += 1,
            }
        }
        let mut stream = connect(address).await?;
        self.tally.connections_kept += 1;
        match ask_on(&mut stream).await {
            Ok(()) => self.kept = Some(stream),
            Err(Lost::InAnswer(why)) => return Err(why),
            Err(Lost::Before) => return Err("a new connection ended without an answer".into()),
        }
        Ok(())
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| format!("connecting: {error}"))
}

async fn ask_anew(address: SocketAddr, path: &str) -> Result<(), String> {
    let mut stream = connect(address).await?;
    let question = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(question.as_bytes()).await.map_err(|error| format!("asking: {error}"))?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    read.map_err(|error| format!("after {text:?}: {error}"))?;
    let is_whole = text.split_once("\r\n\r\n").is_some_and(|(_, page)| page.ends_with('\n'));
    if text.split_whitespace().nth(1) == Some("200") && is_whole {
        return Ok(());
    }
    Err(format!("{path}: {text:?}"))
}

enum Lost {
    /// Nothing had come of an answer.
    Before,
    InAnswer(String),
}

async fn ask_on(stream: &mut TcpStream) -> Result<(), Lost> {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nkept\n";
    if stream.write_all(b"GET / HTTP/1.1\r\nHost: kept\r\n\r\n").await.is_err() {
        return Err(Lost::Before);
    }
    let mut answer = vec![0; ANSWER.len()];
    let mut length = 0;
    while length < answer.len() {
        match stream.read(&mut answer[length..]).await {
            Ok(count @ 1..) => length += count,
            _ if length == 0 => return Err(Lost::Before),
            end => {
                let part = String::from_utf8_lossy(&answer[..length]);
                return Err(Lost::InAnswer(format!("after {part:?}: {end:?}")));
            }
        }
    }
    match answer == ANSWER {
        true => Ok(()),
        false => Err(Lost::InAnswer(String::from_utf8_lossy(&answer).into_owned())),
    }
}
