//! What `berth dns` can answer, and how soon it knows of a change.

use std::error::Error;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api::etcdserverpb::PutRequest;
use api::etcdserverpb::kv_client::KvClient;
use clap::Args;
use futures::StreamExt;
use tonic::transport::Channel;

use crate::figures::percentile;
use crate::server::{Server, Subject, free_port, own_berth};

/// Puts under way while the store is filled.
const PUTS_AT_ONCE: usize = 64;
/// A question that is not answered within this time is lost.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// The longest wait for the server to know everything.
const READY_MAX: Duration = Duration::from_secs(60);
/// Clock ticks in a second of `/proc/PID/stat`, on Linux.
const TICKS_PER_S: f64 = 100.0;

#[derive(Debug, Args)]
pub(crate) struct Dns {
    /// Services, each with two instances
    #[arg(long, default_value_t = 10_000)]
    services: usize,
    /// Seconds to ask for
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Clients that ask, each waiting for its answer before it asks again
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// Changes whose way to an answer is timed
    #[arg(long, default_value_t = 1000)]
    changes: usize,
}

/// The DNS server as a process, killed when dropped.
struct Resolver {
    child: Child,
    address: SocketAddr,
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn run(dns: &Dns) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let subject = Subject::new("berth".to_owned(), vec![own_berth()?.into(), "serve".into()])?;
    let mut server = Server::start(&subject, &directory.path().join("data"))?;
    let channel = server.first_read().await?;
    fill(&channel, dns.services).await?;
    let resolver = Resolver::start(server.client_url())?;
    resolver.until_ready(dns.services - 1)?;
    println!("{} services with two instances each, one DNS server", dns.services);
    throughput(dns, &resolver)?;
    latency(dns, &resolver, &channel).await?;
    drop(resolver);
    server.stop()
}

async fn fill(channel: &Channel, services: usize) -> Result<(), Box<dyn Error>> {
    let puts = (0..2 * services).map(|at| {
        let mut kv = KvClient::new(channel.clone());
        let request = instance(at / 2, at % 2, at);
        async move { kv.put(request).await }
    });
    let mut puts = futures::stream::iter(puts).buffer_unordered(PUTS_AT_ONCE);
    while let Some(put) = puts.next().await {
        put?;
    }
    Ok(())
}

fn instance(service: usize, instance: usize, address: usize) -> PutRequest {
    let [_, a, b, c] = u32::try_from(address).unwrap_or_default().to_be_bytes();
    let value = format!(r#"{{"address":"10.{a}.{b}.{c}","port":8080}}"#);
    PutRequest {
        key: format!("/services/s{service}/{instance}").into(),
        value: value.into(),
        ..PutRequest::default()
    }
}

impl Resolver {
    fn start(store: &str) -> Result<Self, Box<dyn Error>> {
        let address: SocketAddr = ([127, 0, 0, 1], free_port()?).into();
        let child = Command::new(own_berth()?)
            .args(["dns", &format!("--endpoints={store}"), &format!("--listen={address}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, address })
    }

    fn until_ready(&self, last: usize) -> Result<(), Box<dyn Error>> {
        let deadline = Instant::now() + READY_MAX;
        let client = Client::new(self.address)?;
        while client.ask(last)?.is_none_or(|answers| answers.is_empty()) {
            if Instant::now() > deadline {
                return Err("the DNS server does not know the services in a minute".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Seconds of processor time that it has used.
    fn cpu_s(&self) -> Result<f64, Box<dyn Error>> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, in parentheses, may hold anything.
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
        let ticks: Vec<f64> =
            fields.split_whitespace().skip(11).take(2).filter_map(|t| t.parse().ok()).collect();
        Ok(ticks.iter().sum::<f64>() / TICKS_PER_S)
    }
}

/// Asks over one socket, one question at a time.
struct Client {
    socket: UdpSocket,
}

impl Client {
    fn new(resolver: SocketAddr) -> std::io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(resolver)?;
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Self { socket })
    }

    /// The addresses of a service; `None`: no answer, or none yet.
    fn ask(&self, service: usize) -> std::io::Result<Option<Vec<[u8; 4]>>> {
        let question = question(service);
        let mut answer = [0; 1500];
        let length = match self.socket.send(&question).and_then(|_| self.socket.recv(&mut answer)) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let answers = usize::from(u16::from_be_bytes([answer[6], answer[7]]));
        let mut rest = answer[..length].get(question.len()..).unwrap_or_default();
        let mut addresses = Vec::new();
        for _ in 0..answers {
            rest = after_name(rest);
            // Type, class, lifetime and length, then the address.
            let Some(address) = rest.get(10..14) else { break };
            addresses.extend(<[u8; 4]>::try_from(address));
            rest = &rest[14..];
        }
        Ok(Some(addresses))
    }
}

/// What follows the name that these bytes begin with.
fn after_name(mut bytes: &[u8]) -> &[u8] {
    loop {
        match bytes.first() {
            None => return bytes,
            Some(0) => return &bytes[1..],
            Some(length) if length & 0xc0 == 0xc0 => return bytes.get(2..).unwrap_or_default(),
            Some(length) => bytes = bytes.get(1 + usize::from(*length)..).unwrap_or_default(),
        }
    }
}

/// A question for the addresses of a service, as it goes over the wire.
fn question(service: usize) -> Vec<u8> {
    let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [format!("s{service}").as_str(), "service", "cluster", "local"] {
        bytes.push(u8::try_from(label.len()).unwrap_or_default());
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

fn throughput(dns: &Dns, resolver: &Resolver) -> Result<(), Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (started, cpu_before) = (Instant::now(), resolver.cpu_s()?);
    let clients: Vec<_> = (0..dns.clients)
        .map(|number| {
            let (stop, services, address) = (stop.clone(), dns.services, resolver.address);
            std::thread::spawn(move || ask_until(&stop, address, services, number))
        })
        .collect();
    std::thread::sleep(Duration::from_secs(dns.seconds));
    stop.store(true, Ordering::Relaxed);
    let (mut times, mut lost) = (Vec::new(), 0);
    for client in clients {
        let (answered, missing) = client.join().map_err(|_| "a client has panicked")??;
        times.extend(answered);
        lost += missing;
    }
    let (elapsed, cpu_s) = (started.elapsed(), resolver.cpu_s()? - cpu_before);
    let answered = f64::from(u32::try_from(times.len())?);
    println!(
        "{:.0} queries/s for {} clients beside it on this machine ({} lost); {:.0} queries per \
         second of processor time; p50 {}, p99 {}",
        answered / elapsed.as_secs_f64(),
        dns.clients,
        lost,
        answered / cpu_s.max(0.01),
        percentile(&mut times, 50),
        percentile(&mut times, 99),
    );
    Ok(())
}

/// Asks for one service after the other; the times of the answers, and how many did not come.
fn ask_until(
    stop: &AtomicBool,
    resolver: SocketAddr,
    services: usize,
    number: usize,
) -> std::io::Result<(Vec<Duration>, usize)> {
    let client = Client::new(resolver)?;
    let (mut times, mut lost) = (Vec::new(), 0);
    // Steps that have no common part with most numbers of services: all are asked for.
    let mut service = number * 7919;
    while !stop.load(Ordering::Relaxed) {
        service = (service + 7907) % services;
        let asked = Instant::now();
        match client.ask(service)? {
            Some(addresses) if addresses.len() == 2 => times.push(asked.elapsed()),
            _ => lost += 1,
        }
    }
    Ok((times, lost))
}

/// From before a write to the first answer that has it.
async fn latency(dns: &Dns, resolver: &Resolver, channel: &Channel) -> Result<(), Box<dyn Error>> {
    let client = Client::new(resolver.address)?;
    let (mut from_start, mut from_answer) = (Vec::new(), Vec::new());
    for at in 0..dns.changes {
        let address = 1_000_000 + at;
        let [_, a, b, c] = u32::try_from(address)?.to_be_bytes();
        let service = at % dns.services;
        let started = Instant::now();
        KvClient::new(channel.clone()).put(instance(service, 0, address)).await?;
        let written = Instant::now();
        while !client.ask(service)?.is_some_and(|answers| answers.contains(&[10, a, b, c])) {
            if written.elapsed() > READY_MAX {
                return Err("a change is not answered in a minute".into());
            }
            // Whoever wants this to stop must be heard.
            tokio::task::yield_now().await;
        }
        from_start.push(started.elapsed());
        from_answer.push(written.elapsed());
    }
    for (what, times) in [("sending", &mut from_start), ("being acknowledged", &mut from_answer)] {
        println!(
            "{} changes, from a write's {what} to the answer that has it: p50 {}, p99 {}",
            dns.changes,
            percentile(times, 50),
            percentile(times, 99),
        );
    }
    Ok(())
}
