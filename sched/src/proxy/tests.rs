//! Services served from a real store, with endpoints that come and go.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::balance::Pool;
use super::frontends::Frontend;
use super::*;
use crate::kv::testing::Etcd;
use crate::objects::Objects;

/// Requests of the roll.
const REQUESTS: usize = 10_000;
const CLIENTS: usize = 16;

/// An endpoint that answers each line of a connection with its own address.
struct Backend {
    address: SocketAddr,
    listening: JoinHandle<()>,
}

/// An address that is taken and refuses.
struct Reserved {
    address: SocketAddr,
    socket: TcpSocket,
}

impl Reserved {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { address: socket.local_addr().unwrap(), socket }
    }

    fn listen(self) -> Backend {
        Backend::on(self.socket.listen(1024).unwrap())
    }
}

impl Backend {
    fn start() -> Self {
        Reserved::new().listen()
    }

    fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, address));
            }
        });
        Self { address, listening }
    }

    /// Refuses from now on; connections that were accepted go on.
    fn stop(&self) {
        self.listening.abort();
    }
}

async fn answer(mut stream: TcpStream, own: SocketAddr) {
    let mut request = [0; 64];
    while let Ok(1..) = stream.read(&mut request).await {
        if stream.write_all(format!("{own}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn line(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.write_all(b"hello\n").await?;
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        if stream.read_buf(&mut text).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// One request: who answered it.
async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    line(&mut stream).await
}

struct World {
    _etcd: Etcd,
    objects: Objects,
    service: SocketAddr,
    running: JoinHandle<()>,
    _host_ports: watch::Sender<Vec<HostPort>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl World {
    /// A store, the proxy on it, and a service with one port.
    async fn start(host_ports: Vec<HostPort>) -> Self {
        let (etcd, store) = Etcd::start().await;
        let objects = Objects::new(store);
        let service = SocketAddr::from(([127, 0, 0, 77], free_port()));
        let document: Service = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"clusterIP": service.ip(), "ports": [
                {"name": "http", "port": service.port(), "protocol": "TCP"},
            ]},
        }))
        .unwrap();
        objects.create(&document).await.unwrap();
        let (sender, receiver) = watch::channel(host_ports);
        let settings = Settings {
            node_addresses: vec![Ipv4Addr::LOCALHOST.into()],
            device: None,
            ..Settings::new("here")
        };
        let serves = watch::Sender::new(0);
        let proxy = run(Mirror::new(&objects), Mirror::new(&objects), receiver, settings, serves);
        let running = tokio::spawn(proxy);
        Self { _etcd: etcd, objects, service, running, _host_ports: sender }
    }

    /// Who is behind the service from now on, each with its conditions. Every endpoint has a slice
    /// of its own: their ports differ.
    async fn set(&self, endpoints: &[(SocketAddr, Value)]) {
        let known = self.objects.list::<EndpointSlice>(Some("default")).await.unwrap().items;
        for (address, conditions) in endpoints {
            let name = format!("web-{}", address.port());
            let slice: EndpointSlice = serde_json::from_value(json!({
                "metadata": {
                    "name": name, "namespace": "default",
                    "labels": {"kubernetes.io/service-name": "web"},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": [address.ip()], "conditions": conditions}],
                "ports": [{"name": "http", "port": address.port(), "protocol": "TCP"}],
            }))
            .unwrap();
            match known.iter().find(|one| one.metadata.name.as_ref() == Some(&name)) {
                None => drop(self.objects.create(&slice).await.unwrap()),
                Some(before) => {
                    let change = |own: &mut EndpointSlice| own.endpoints = slice.endpoints;
                    drop(self.objects.update(before, change).await.unwrap());
                }
            }
        }
        for before in known {
            let name = before.metadata.name.clone().unwrap();
            if !endpoints.iter().any(|(address, _)| name == format!("web-{}", address.port())) {
                let delete = crate::objects::Delete::default();
                self.objects
                    .delete::<EndpointSlice>(Some("default"), &name, &delete)
                    .await
                    .unwrap();
            }
        }
    }

    /// Waits until the answers come from these.
    async fn until(&self, wanted: &[&Backend]) {
        let mut wanted: Vec<String> = wanted.iter().map(|one| one.address.to_string()).collect();
        wanted.sort();
        for _ in 0..200 {
            let mut found = Vec::new();
            for _ in 0..30 {
                found.extend(ask(self.service).await.ok());
            }
            found.sort();
            found.dedup();
            if found == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not served by {wanted:?}");
    }
}

fn ready() -> Value {
    json!({"ready": true})
}

fn leaving() -> Value {
    json!({"ready": false, "serving": true, "terminating": true})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_loses_no_request() {
    // Proves that of ten thousand requests none fails while every endpoint is replaced again and
    // again, though some are announced before they listen.
    let world = World::start(Vec::new()).await;
    let mut backends = vec![Backend::start(), Backend::start(), Backend::start()];
    let all = |backends: &[Backend]| -> Vec<_> {
        backends.iter().map(|one| (one.address, ready())).collect()
    };
    world.set(&all(&backends)).await;
    world.until(&backends.iter().collect::<Vec<_>>()).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let (service, over) = (world.service, is_over.clone());
    let requests = tokio::spawn(async move {
        let each = futures::stream::iter(0..REQUESTS).map(|_| ask(service));
        let failed: Vec<_> =
            each.buffer_unordered(CLIENTS).filter_map(async |one| one.err()).collect().await;
        over.store(true, Ordering::Relaxed);
        failed
    });
    let mut rolls = 0;
    while !is_over.load(Ordering::Relaxed) {
        let next = Reserved::new();
        if rolls % 2 == 0 {
            // It refuses until it listens, and is asked already.
            let mut endpoints = all(&backends);
            endpoints.push((next.address, ready()));
            world.set(&endpoints).await;
        }
        backends.push(next.listen());
        let old = backends.remove(0);
        let mut endpoints = all(&backends);
        endpoints.push((old.address, leaving()));
        world.set(&endpoints).await;
        // What the proxy gave it before it knew is in the kernel's queue perhaps, and would be lost
        // with it; no proxy can help that.
        world.until(&backends.iter().collect::<Vec<_>>()).await;
        old.stop();
        world.set(&all(&backends)).await;
        rolls += 1;
    }
    let failed = requests.await.unwrap();
    assert!(failed.is_empty(), "{} of {REQUESTS} failed: {:?}", failed.len(), failed.first());
    assert!(rolls > 3, "only {rolls} endpoints were replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_outlast_their_endpoint() {
    // Proves that an established connection goes on after its endpoint and its service are gone,
    // that who leaves serves only while nobody else does, that a refusing endpoint is passed over,
    // and that a service without endpoints resets.
    let world = World::start(Vec::new()).await;
    let (one, two) = (Backend::start(), Backend::start());
    let dead = SocketAddr::from(([127, 0, 0, 1], free_port()));
    world.set(&[(one.address, ready()), (dead, ready())]).await;
    world.until(&[&one]).await;
    let mut established = TcpStream::connect(world.service).await.unwrap();
    assert_eq!(line(&mut established).await.unwrap(), one.address.to_string());

    world.set(&[(one.address, leaving()), (two.address, ready())]).await;
    world.until(&[&two]).await;
    world.set(&[(one.address, leaving())]).await;
    world.until(&[&one]).await;
    world.set(&[]).await;
    world.until(&[]).await;
    assert_eq!(line(&mut established).await.unwrap(), one.address.to_string());
    let delete = crate::objects::Delete::default();
    world.objects.delete::<Service>(Some("default"), "web", &delete).await.unwrap();
    // While it listens and has nobody, it resets: that is an error too, and another one.
    let refused = async || {
        let connected = TcpStream::connect(world.service).await;
        connected.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    for _ in 0..1000 {
        if refused().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(refused().await, "nobody listens any more");
    assert_eq!(line(&mut established).await.unwrap(), one.address.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_and_host_ports_are_passed_on() {
    // Proves that a host port leads to its pod by UDP, answers find back to each client, and an
    // endpoint that is replaced gets no more.
    let echo = async || {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut datagram = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
                let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
                socket.send_to(format!("{text} {address}").as_bytes(), from).await.unwrap();
            }
        });
        address
    };
    let (one, two) = (echo().await, echo().await);
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listen = Listen { protocol: Protocol::Udp, address };
    let world = World::start(vec![HostPort { listen, target: one }]).await;
    let clients = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0"));
    let clients: Vec<UdpSocket> =
        futures::future::join_all(clients).await.into_iter().map(Result::unwrap).collect();
    let ask = async |client: usize, wanted: SocketAddr| {
        let wanted = format!("from {client} {wanted}");
        let mut found = String::new();
        for _ in 0..100 {
            let text = format!("from {client}");
            clients[client].send_to(text.as_bytes(), address).await.unwrap();
            let mut datagram = [0; 64];
            let answer = clients[client].recv_from(&mut datagram);
            // Nobody may listen yet.
            if let Ok(Ok((length, _))) =
                tokio::time::timeout(Duration::from_millis(100), answer).await
            {
                found = String::from_utf8_lossy(&datagram[..length]).into_owned();
                if found == wanted {
                    return;
                }
                // Nor is a change known at once.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        panic!("{found}, not {wanted}");
    };
    ask(0, one).await;
    ask(1, one).await;
    world._host_ports.send(vec![HostPort { listen, target: two }]).unwrap();
    ask(0, two).await;
    ask(1, two).await;
}

#[test]
fn clients_keep_their_endpoint_if_asked_to() {
    // Proves session affinity while the endpoint is there, and that new connections go to the one
    // that has fewest.
    let address = |last: u8| SocketAddr::from(([10, 0, 0, last], 80));
    let client = |last: u8| IpAddr::from([192, 168, 0, last]);
    let endpoints: Vec<SocketAddr> = (1..=8).map(address).collect();
    let frontend =
        Frontend { endpoints, affinity: Some(Duration::from_secs(60)), ..Frontend::default() };
    let pool = Pool::new(frontend.clone(), Strategy::Random);
    let first = pool.choose(client(1), &[]).unwrap().endpoint;
    for _ in 0..20 {
        assert_eq!(pool.choose(client(1), &[]).unwrap().endpoint, first);
    }
    let other = pool.choose(client(1), &[first]).unwrap().endpoint;
    assert_ne!(other, first, "it refused");
    assert_eq!(pool.choose(client(1), &[]).unwrap().endpoint, other);
    pool.set(Frontend { endpoints: vec![first], ..frontend.clone() });
    assert_eq!(pool.choose(client(1), &[]).unwrap().endpoint, first);
    pool.set(Frontend::default());
    assert!(pool.choose(client(1), &[]).is_none());

    let pool = Pool::new(Frontend { affinity: None, ..frontend }, Strategy::LeastConnections);
    let mut held: Vec<_> = (0..8).map(|_| pool.choose(client(1), &[]).unwrap()).collect();
    let mut found: Vec<_> = held.iter().map(|one| one.endpoint).collect();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 8, "each got one");
    let freed = held.pop().unwrap().endpoint;
    assert_eq!(pool.choose(client(2), &[]).unwrap().endpoint, freed);
}
