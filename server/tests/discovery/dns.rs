//! `berth dns`, asked by dig.

use std::time::Instant;

use api::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest, PutRequest};
use testkit::{Clients, Kind, Server, bounded, eventually, free_port, subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::dig::{Asked, Dns};
use crate::tool::{SOON_S, delete, done, put};

/// More instances than fit a datagram.
const CROWD: usize = 200;
/// Connections by TCP, twice as many as are taken and more than the server has files beside them.
const CONNECTIONS: usize = 250;
/// Of their lease; longer than the test.
const CROWD_TTL_S: i64 = 600;

async fn instance(clients: &Clients, name: &str, document: &str) {
    put(clients, &format!("/services/{name}"), document).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_found_by_name_tag_and_port() {
    // Proves the names of registered services: addresses of both families, tags, SRV with its
    // targets, health, negative answers that may be kept as long as others, and other classes,
    // types and domains.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let dns = Dns::start(&server, &[]).await;
    let one = r#"{"address":"10.0.0.1","port":8080,"tags":["Blue"],"weight":3}"#;
    let two = r#"{"address":"2001:db8::2","port":8081}"#;
    instance(&clients, "web/1", one).await;
    instance(&clients, "web/2", two).await;
    instance(&clients, "web/3", r#"{"address":"10.0.0.3","port":1,"health":"key"}"#).await;
    instance(&clients, "web/4", "no document").await;
    let name = "web.service.cluster.local";
    dns.until(&[name], &["A 10.0.0.1"]).await;
    dns.until(&[name, "AAAA"], &["AAAA 2001:db8::2"]).await;
    assert_eq!(dns.answers(&["WEB.Service.CLUSTER.local"]).await, ["A 10.0.0.1"]);
    assert_eq!(dns.answers(&[&format!("blue.{name}")]).await, ["A 10.0.0.1"]);
    let srv = [
        "SRV 1 1 8081 2001-db8-0-0-0-0-0-2.addr.cluster.local.",
        "SRV 1 3 8080 10-0-0-1.addr.cluster.local.",
    ];
    assert_eq!(dns.answers(&[name, "SRV"]).await, srv);
    assert_eq!(dns.answers(&["_web._tcp.service.cluster.local", "SRV"]).await, srv);
    assert_eq!(dns.answers(&["_web._blue.service.cluster.local", "SRV"]).await, srv[1..]);
    let extra = dns.dig(&[name, "SRV", "+additional"]).await.stdout;
    assert!(extra.contains("10.0.0.1") && extra.contains("2001:db8::2"), "{extra}");
    assert_eq!(dns.answers(&["10-0-0-9.addr.cluster.local"]).await, ["A 10.0.0.9"]);

    put(&clients, "/health/web/3", r#"{"status":"passing"}"#).await;
    put(&clients, "/health/web/1", r#"{"status":"critical"}"#).await;
    dns.until(&[name], &["A 10.0.0.3"]).await;
    delete(&clients, "/services/web/3").await;
    dns.until(&[name], &[]).await;
    assert_eq!(dns.code(name).await, "NOERROR", "it is registered");
    assert_eq!(dns.code("green.web.service.cluster.local").await, "NOERROR");
    assert_eq!(dns.code("wep.service.cluster.local").await, "NXDOMAIN");
    assert_eq!(dns.code("www.example.com").await, "REFUSED");
    let negative = dns.dig(&["wep.service.cluster.local", "+authority"]).await.stdout;
    assert!(negative.contains("SOA") && negative.trim_end().ends_with(" 5"), "{negative}");
    assert_eq!(dns.answers(&["cluster.local", "SOA"]).await.len(), 1);
    assert_eq!(dns.metric("berth_discovery_malformed_total").await, Some(1.0));
    assert_eq!(dns.tool.log().matches("/services/web/4").count(), 1, "{}", dns.tool.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_whole_by_tcp() {
    // Proves truncation without and with EDNS, that dig gets the rest by TCP, that answers are
    // rotated, and that they live no longer than their lease.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let grant = LeaseGrantRequest { ttl: CROWD_TTL_S, id: 0 };
    let lease = done(clients.clone().lease.lease_grant(grant)).await.id;
    for at in 0..CROWD {
        let value = format!(r#"{{"address":"10.1.{}.{}","port":80}}"#, at / 250, at % 250);
        let key = format!("/services/crowd/{at}").into();
        let put = PutRequest { key, value: value.into(), lease, ..PutRequest::default() };
        done(clients.clone().kv.put(put)).await;
    }
    let dns = Dns::start(&server, &["--ttl=1h"]).await;
    let name = "crowd.service.cluster.local";
    let all = dns.answers(&[name]).await;
    assert_eq!(all.len(), CROWD, "dig asks again by TCP");
    for (edns, bytes) in [("+noedns", 512), ("+bufsize=4096", 1232)] {
        let cut = dns.dig(&[name, edns, "+ignore", "+comments", "+answer", "+stats"]).await.stdout;
        let size = cut.split("rcvd: ").nth(1).expect("a size").trim().parse::<usize>().unwrap();
        assert!(cut.contains(" tc ") && size <= bytes, "{size} bytes with {edns}");
    }
    let first = async || dns.dig(&[name, "+short", "+tcp"]).await.stdout;
    let (one, other) = (first().await, first().await);
    assert_ne!(one, other, "two hundred answers in the same order twice");
    let bounded = async || {
        let line = dns.dig(&[name, "+tcp", "+answer"]).await.stdout;
        match line.split_whitespace().nth(1) {
            Some(ttl) if ttl == CROWD_TTL_S.to_string() => Ok(()),
            ttl => Err(format!("{ttl:?}")),
        }
    };
    eventually("a lifetime within the lease's", SOON_S, bounded).await;
    done(clients.clone().lease.lease_revoke(LeaseRevokeRequest { id: lease })).await;
    dns.until(&[name], &[]).await;
    assert_eq!(dns.code(name).await, "NXDOMAIN", "the lease has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_are_passed_on() {
    // Proves that names of other domains are asked of the configured resolver, its answers come
    // back whole (by TCP too), that a dead resolver before it costs time and not the answer, and
    // that aliases which leave the domain are followed there.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    put(&clients, "/skydns/test/far/www", r#"{"host":"10.9.9.9"}"#).await;
    for at in 0..CROWD {
        let host = format!(r#"{{"host":"10.9.{}.{}"}}"#, at / 250, at % 250);
        put(&clients, &format!("/skydns/test/far/many/{at}"), &host).await;
    }
    put(&clients, "/skydns/local/cluster/out", r#"{"host":"www.far.test"}"#).await;
    let far = Dns::start(&server, &["--domain=far.test,cluster.local"]).await;
    let dead = free_port();
    let forward = format!("--forward=127.0.0.1:{dead},127.0.0.1:{}", far.port);
    let near = Dns::start(&server, &[&forward]).await;
    assert_eq!(near.answers(&["www.far.test"]).await, ["A 10.9.9.9"]);
    assert_eq!(near.answers(&["many.far.test"]).await.len(), CROWD);
    assert_eq!(near.code("none.far.test").await, "NXDOMAIN");
    let out = ["A 10.9.9.9", "CNAME www.far.test."];
    assert_eq!(near.answers(&["out.cluster.local"]).await, out);
    assert!(near.metric("berth_dns_forwarded_total").await >= Some(3.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_questions_are_refused_by_their_codes() {
    // Proves that what is no question, or none that is answered here, gets its code or nothing, and
    // that the server goes on.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    instance(&clients, "web/1", r#"{"address":"10.0.0.1","port":80}"#).await;
    let dns = Dns::start(&server, &[]).await;
    let name = "web.service.cluster.local";
    assert_eq!(dns.code_of(&[name, "+opcode=status", "+header-only"]).await, "NOTIMP");
    assert_eq!(dns.code_of(&[name, "+edns=1", "+noednsnegotiation"]).await, "BADVERS");
    assert_eq!(dns.code_of(&["-c", "CH", name]).await, "REFUSED");
    let transfer = dns.dig(&["cluster.local", "AXFR", "+comments"]).await.stdout;
    assert!(transfer.contains("Transfer failed"), "{transfer}");
    let long = format!("{}.service.cluster.local", ["a"; 100].join("."));
    assert_eq!(dns.code(&long).await, "NXDOMAIN");
    let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for length in [0, 1, 11, 12, 13, 100, 1000] {
        for byte in [0, 0x80, 0xc0, 0xff] {
            datagrams.send_to(&vec![byte; length], ("127.0.0.1", dns.port)).await.unwrap();
        }
    }
    let mut stream = TcpStream::connect(("127.0.0.1", dns.port)).await.unwrap();
    stream.write_all(&[0xff; 100]).await.unwrap();
    assert_eq!(dns.answers(&[name]).await, ["A 10.0.0.1"]);
    assert_eq!(dns.answers(&[name, "+tcp"]).await, ["A 10.0.0.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_known_state_is_served_while_the_store_is_away() {
    // Proves that answers go on, that metrics and one line of the log say that they may be old,
    // and that what changed meanwhile is known soon after the store is back.
    let mut server = Server::start(subject!(), &[]).await;
    instance(&server.clients(), "web/1", r#"{"address":"10.0.0.1","port":80}"#).await;
    let proxy = testkit::Proxy::start(format!("127.0.0.1:{}", server.client_port)).await;
    let dns = Dns::follow(&format!("--endpoints={}", proxy.address()), &[]).await;
    let name = "web.service.cluster.local";
    dns.until(&[name], &["A 10.0.0.1"]).await;
    let stale = "berth_discovery_stale{part=\"services\"}";
    assert_eq!(dns.metric(stale).await, Some(0.0));
    server.kill();
    let is = async |wanted: f64| {
        eventually(stale, SOON_S, async || match dns.metric(stale).await {
            value if value == Some(wanted) => Ok(()),
            value => Err(format!("{value:?}")),
        })
        .await;
    };
    is(1.0).await;
    assert_eq!(dns.answers(&[name]).await, ["A 10.0.0.1"]);
    let told = async || {
        let log = dns.tool.log();
        if log.matches("cannot follow the store").count() == 5 { Ok(()) } else { Err(log) }
    };
    eventually("once for each part", SOON_S, told).await;
    server.restart().await;
    instance(&server.clients(), "web/1", r#"{"address":"10.0.0.2","port":80}"#).await;
    dns.until(&[name], &["A 10.0.0.2"]).await;
    is(0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_answered_soon() {
    // Proves that the way from a write to an answer is short, and prints how short.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    let dns = Dns::start(&server, &[]).await;
    let mut times = Vec::new();
    for at in 1..=20 {
        let document = format!(r#"{{"address":"10.0.0.{at}","port":80}}"#);
        let written = Instant::now();
        instance(&clients, "web/1", &document).await;
        dns.until(&["web.service.cluster.local"], &[&format!("A 10.0.0.{at}")]).await;
        times.push(written.elapsed());
    }
    times.sort();
    println!("write to answer by dig, of 20: median {:?}, longest {:?}", times[10], times[19]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_answers_for_itself() {
    // Proves `--dns-listen`: names are answered from within the server, what it counts is on its own
    // page of metrics, an address that is taken is told, and none is no DNS.
    let program = subject!();
    if program.kind == Kind::Etcd {
        // It has none.
        return;
    }
    let asked = Asked { port: free_port() };
    let listen = format!("--dns-listen=127.0.0.1:{}", asked.port);
    let server = Server::start(program.clone(), &[&listen, "--dns-domain=a.test,b.test"]).await;
    instance(&server.clients(), "web/1", r#"{"address":"10.0.0.1","port":80}"#).await;
    for name in ["web.service.a.test", "web.service.b.test"] {
        eventually(name, SOON_S, async || match asked.answers(&[name]).await {
            answers if answers == ["A 10.0.0.1"] => Ok(()),
            answers => Err(format!("{answers:?}")),
        })
        .await;
    }
    assert_eq!(asked.code("web.service.cluster.local").await, "REFUSED");
    let counted = crate::tool::page(server.client_port, "/metrics").await;
    for line in ["berth_dns_responses_total{code=\"NOERROR\"}", "etcd_server_has_leader 1"] {
        assert!(counted.contains(line), "{line}: {counted}");
    }
    // More connections than are taken, which say nothing and stay: questions by UDP and the store go
    // on, each is closed in its turn, and whoever waits by TCP behind them has an answer then.
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(TcpStream::connect(("127.0.0.1", asked.port)).await.unwrap());
    }
    let name = "web.service.a.test";
    assert_eq!(asked.answers(&[name]).await, ["A 10.0.0.1"]);
    put(&server.clients(), "/other", "x").await;
    assert!(
        crate::tool::files_of(server.pid().expect("it runs")) < CONNECTIONS,
        "they take the store's files"
    );
    let patient = [name, "+tcp", "+time=100"];
    assert_eq!(asked.answers(&patient).await, ["A 10.0.0.1"]);
    for stream in &mut silent {
        let closed = bounded(stream.read(&mut [0; 1])).await;
        // Without a word, in either way.
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    }
    let silent = Server::start(program.clone(), &[]).await;
    assert!(!crate::tool::page(silent.client_port, "/metrics").await.contains("berth_dns"));
    let directory = tempfile::tempdir().unwrap();
    let data = format!("--data-dir={}", directory.path().join("data").display());
    let (client, peer) = (free_port(), free_port());
    let client = format!("--listen-client-urls=http://127.0.0.1:{client}");
    let peer = format!("--listen-peer-urls=http://127.0.0.1:{peer}");
    let client_to = client.replace("listen", "advertise");
    let refused = crate::tool::berth(&["serve", &data, &client, &client_to, &peer, &listen]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains(&asked.port.to_string()), "{refused:?}");
}
