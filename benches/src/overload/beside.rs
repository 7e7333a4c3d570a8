//! What goes on beside a load: one client that asks for little, and health checks.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::{PutRequest, RangeRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Between one call of the quiet client and the next.
const PAUSE: Duration = Duration::from_millis(5);
/// Between two health checks of one kind.
const CHECK_PAUSE: Duration = Duration::from_millis(100);
/// Longer than any patience: a call without an answer by then has failed.
const CALL_MAX: Duration = Duration::from_secs(60);
/// A health check without an answer by then is missed; those who ask commonly wait so long.
const CHECK_MAX: Duration = Duration::from_secs(5);
const VALUE: &[u8] = &[b'q'; 256];

/// What was seen until now.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) puts: Vec<Duration>,
    pub(crate) gets: Vec<Duration>,
    /// Calls of the quiet client that were refused or not answered.
    pub(crate) failed: usize,
    /// Health checks, those by HTTP and those by gRPC.
    pub(crate) healthy: usize,
    pub(crate) missed: usize,
}

/// The client and the checks at work, on a thread of their own: they wait for the server, and not
/// for the load's clients. They end when this is dropped.
pub(crate) struct Beside {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Observed, std::io::Error>>,
}

impl Beside {
    pub(crate) fn start(url: &str) -> Self {
        let (stop, url) = (Arc::new(AtomicBool::new(false)), url.to_owned());
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(observe(url, until)).map_err(std::io::Error::other)
        });
        Self { stop, thread }
    }

    /// # Errors
    /// The runtime or the client could not be made.
    pub(crate) async fn finish(self) -> Result<Observed, Box<dyn Error>> {
        self.stop.store(true, Ordering::Release);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await?;
        Ok(joined.map_err(|_| "the quiet client panicked")??)
    }
}

async fn observe(url: String, stop: Arc<AtomicBool>) -> Result<Observed, tonic::transport::Error> {
    let connect = || Ok(Endpoint::from_shared(url.clone())?.connect_lazy());
    let mut tasks = JoinSet::new();
    tasks.spawn(quiet(connect()?, stop.clone()));
    tasks.spawn(checks(Check::Grpc(HealthClient::new(connect()?)), stop.clone()));
    let address = url.trim_start_matches("http://").to_owned();
    tasks.spawn(checks(Check::Http(address), stop));
    let mut all = Observed::default();
    while let Some(Ok(observed)) = tasks.join_next().await {
        all.puts.extend(observed.puts);
        all.gets.extend(observed.gets);
        all.failed += observed.failed;
        all.healthy += observed.healthy;
        all.missed += observed.missed;
    }
    Ok(all)
}

async fn quiet(channel: Channel, stop: Arc<AtomicBool>) -> Observed {
    let mut observed = Observed::default();
    let mut kv = KvClient::new(channel);
    while !stop.load(Ordering::Acquire) {
        let put = PutRequest { key: "quiet".into(), value: VALUE.into(), ..Default::default() };
        let begin = Instant::now();
        match tokio::time::timeout(CALL_MAX, kv.put(put)).await {
            Ok(Ok(_)) => observed.puts.push(begin.elapsed()),
            _ => observed.failed += 1,
        }
        tokio::time::sleep(PAUSE).await;
        let get = RangeRequest { key: "quiet".into(), ..Default::default() };
        let begin = Instant::now();
        match tokio::time::timeout(CALL_MAX, kv.range(get)).await {
            Ok(Ok(_)) => observed.gets.push(begin.elapsed()),
            _ => observed.failed += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
    observed
}

/// How somebody asks whether the server is well.
enum Check {
    Grpc(HealthClient<Channel>),
    /// Each time by a connection of its own, as most supervisors do.
    Http(String),
}

impl Check {
    async fn is_healthy(&mut self) -> bool {
        match self {
            Self::Grpc(health) => {
                let answer = health.check(HealthCheckRequest::default()).await;
                answer.is_ok_and(|answer| answer.get_ref().status() == ServingStatus::Serving)
            }
            Self::Http(address) => {
                let answer = get_health(address).await.unwrap_or_default();
                answer.starts_with("HTTP/1.1 200") && answer.contains("\"health\":\"true\"")
            }
        }
    }
}

async fn get_health(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn checks(mut check: Check, stop: Arc<AtomicBool>) -> Observed {
    let mut observed = Observed::default();
    while !stop.load(Ordering::Acquire) {
        if tokio::time::timeout(CHECK_MAX, check.is_healthy()).await.unwrap_or(false) {
            observed.healthy += 1;
        } else {
            observed.missed += 1;
        }
        tokio::time::sleep(CHECK_PAUSE).await;
    }
    observed
}
