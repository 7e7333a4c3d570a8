//! A TCP proxy that makes a network slow: delay on every byte, and stalls.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Chunks under way in one direction of one connection; more slow the sender down.
const CHUNKS_MAX: usize = 256;
const CHUNK_BYTES: usize = 16 << 10;

/// How the network behind a proxy behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Each byte arrives this much later than it was sent, in each direction.
    pub delay: Duration,
    /// Nothing arrives as long as this holds; nothing is lost.
    pub stalled: bool,
}

/// Listens on a port of 127.0.0.1 and passes everything on to one address.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    weather: watch::Sender<Weather>,
    /// How often connections were forgotten.
    forgotten: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Passes connections on to `target` (`HOST:PORT`), in good weather at first.
    pub async fn start(target: String) -> Self {
        let port = crate::ports::free();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port was free");
        let (weather, seen) = watch::channel(Weather::default());
        let forgotten = watch::Sender::new(0);
        let task = tokio::spawn(accept(listener, target, seen, forgotten.subscribe()));
        Self { address: format!("127.0.0.1:{port}"), weather, forgotten, task }
    }

    /// `HOST:PORT` where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Takes effect at once, on all connections.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// From now on nothing passes on the connections of now, and nobody is told, as when a router
    /// forgets them; new ones work.
    pub fn forget(&self) {
        self.forgotten.send_modify(|times| *times += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: String,
    weather: watch::Receiver<Weather>,
    forgotten: watch::Receiver<u64>,
) {
    loop {
        let Ok((inside, _)) = listener.accept().await else { return };
        let (target, weather) = (target.clone(), weather.clone());
        let mut forgotten = forgotten.clone();
        forgotten.mark_unchanged();
        tokio::spawn(async move {
            // A target that is down: the caller sees its connection closed.
            let Ok(outside) = TcpStream::connect(target).await else { return };
            pass(inside, outside, &weather, &forgotten);
        });
    }
}

fn pass(
    inside: TcpStream,
    outside: TcpStream,
    weather: &watch::Receiver<Weather>,
    forgotten: &watch::Receiver<u64>,
) {
    for stream in [&inside, &outside] {
        stream.set_nodelay(true).expect("a fresh socket takes options");
    }
    let (inside_read, inside_write) = inside.into_split();
    let (outside_read, outside_write) = outside.into_split();
    for (read, write) in [(inside_read, outside_write), (outside_read, inside_write)] {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        tokio::spawn(take(read, sender, weather.clone()));
        tokio::spawn(deliver(receiver, write, weather.clone(), forgotten.clone()));
    }
}

/// Reads, and notes when each chunk is due.
async fn take(
    mut from: OwnedReadHalf,
    to: mpsc::Sender<(Instant, Vec<u8>)>,
    weather: watch::Receiver<Weather>,
) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let Ok(count @ 1..) = from.read(&mut chunk).await else { return };
        chunk.truncate(count);
        let due = Instant::now() + weather.borrow().delay;
        if to.send((due, chunk)).await.is_err() {
            return;
        }
    }
}

/// Writes what is due, when nothing stalls.
async fn deliver(
    mut from: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    forgotten: watch::Receiver<u64>,
) {
    while let Some((due, chunk)) = from.recv().await {
        if forgotten.has_changed().unwrap_or(false) {
            continue;
        }
        tokio::time::sleep_until(due).await;
        let calm = weather.wait_for(|weather| !weather.stalled).await.is_ok();
        if !calm || to.write_all(&chunk).await.is_err() {
            return;
        }
    }
}
