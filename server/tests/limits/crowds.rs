//! Crowds of watchers and of connections: what they cost is bounded, and whoever cannot be served
//! is told so.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::*;
use testkit::{Program, Server, bounded, eventually, subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::store::{assert_serves, put_request};

/// What a server of these tests may come to need, several times what it does.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
const SLOW_WATCHERS: usize = 200;
const EVENT_BYTES: usize = 64 << 10;
/// Much more than a stream holds, and than the server keeps in memory for those that fell behind.
const EVENTS: i64 = 1536;
const STREAMS: usize = 10;
const WATCHERS_PER_STREAM: usize = 2000;
const WRITES: usize = 20;
/// No supervisor waits so long; a test on a busy machine does.
const HEALTH_CHECK_MAX: Duration = Duration::from_secs(30);
/// Files that a server may have open in the test of connections.
const FILES_MAX: usize = 400;
/// Some of those files must stay free for the log and the store.
const FILES_FREE_MIN: usize = 100;

/// Proves that watchers which never read cost bounded memory while more is written than all of them
/// could hold, that one which reads on gets every event, and that one whose events are compacted
/// away gets the first of them and then a cancel with the compacted revision: no gap in silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_do_not_read_cost_little_and_miss_nothing_in_silence() {
    let mut server = Server::start(subject!(), &[]).await;
    let health = Health::watch(&server);
    let mut slow = Vec::new();
    for _ in 0..SLOW_WATCHERS {
        slow.push(watch(&server, vec![create("slow/", "slow0")]).await);
    }
    let (first, last) = write_events(&server).await;
    let mut reader = slow.pop().expect("there are many");
    assert_eq!(read_on(&mut reader, first, last).await, End::Everything);
    let compaction = CompactionRequest { revision: last, ..Default::default() };
    bounded(server.clients().kv.compact(compaction)).await.expect("the server compacts");
    let mut reader = slow.pop().expect("there are many");
    assert_eq!(read_on(&mut reader, first, last).await, End::Compacted(last));
    health.assert_answered().await;
    assert_memory(&server);
    assert_serves(&mut server).await;
}

/// Proves that every event reaches every one of many watchers, in bounded memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_watchers_each_get_their_events() {
    let mut server = Server::start(subject!(), &[]).await;
    let health = Health::watch(&server);
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let key = |number| create(&format!("many/{number}"), "");
        streams.push(watch(&server, (0..WATCHERS_PER_STREAM).map(key).collect()).await);
    }
    let mut clients = server.clients();
    for number in 0..WRITES {
        let put = put_request(&format!("many/{number}"), "v");
        bounded(clients.kv.put(put)).await.expect("the server takes writes");
    }
    for answers in &mut streams {
        let mut keys = Vec::new();
        while keys.len() < WRITES {
            let answer = next(answers).await;
            assert!(!answer.canceled, "{}", answer.cancel_reason);
            keys.extend(answer.events.into_iter().filter_map(|event| event.kv).map(|kv| kv.key));
        }
        let expected: Vec<_> = (0..WRITES).map(|number| format!("many/{number}")).collect();
        assert_eq!(keys, expected);
    }
    health.assert_answered().await;
    assert_memory(&server);
    assert_serves(&mut server).await;
}

/// Proves that connections never take the files that the log needs: those past the bound wait, the
/// others are served, and the bound is for connections that are open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_leave_files_for_the_log() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = with_few_files(&subject!(), directory.path());
    let mut server = Server::start(program, &[]).await;
    let mut early = server.clients();
    bounded(early.kv.put(put_request("early", "v"))).await.expect("the server takes writes");
    let mut open = Vec::new();
    for _ in 0..FILES_MAX {
        let stream = TcpStream::connect(("127.0.0.1", server.client_port)).await;
        open.push(stream.expect("the system takes connections"));
    }
    // It shows how far the server accepts them only when it had the time to.
    for _ in 0..20 {
        bounded(early.kv.put(put_request("early", "v"))).await.expect("the server takes writes");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let free = FILES_MAX - open_files(&server);
        assert!(free >= FILES_FREE_MIN, "only {free} files are left");
    }
    drop(open);
    let serves = async || {
        let put = put_request("late", "v");
        let put = tokio::time::timeout(Duration::from_secs(5), server.clients().kv.put(put)).await;
        put.map_err(|error| error.to_string())?.map_err(|refusal| refusal.to_string())
    };
    eventually("a new connection is served", 60, serves).await;
    assert_serves(&mut server).await;
}

/// `program` with a bound for open files.
fn with_few_files(program: &Program, directory: &Path) -> Program {
    let path = directory.join("few-files");
    let script = format!("#!/bin/sh\nulimit -n {FILES_MAX}\nexec {:?} \"$@\"\n", program.path);
    std::fs::write(&path, script).expect("a file can be written");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, executable).expect("our own file");
    Program { path, ..program.clone() }
}

fn open_files(server: &Server) -> usize {
    let pid = server.pid().expect("the server runs");
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("our own child").count()
}

fn assert_memory(server: &Server) {
    let pid = server.pid().expect("the server runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("our own child");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib = line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok());
    let peak_bytes = kib.expect("a number of KiB") << 10;
    println!("peak of resident memory: {} MiB", peak_bytes >> 20);
    assert!(peak_bytes < MEMORY_BYTES_MAX, "{} MiB", peak_bytes >> 20);
}

fn create(key: &str, range_end: &str) -> WatchRequest {
    let create = WatchCreateRequest {
        key: key.to_owned().into(),
        range_end: range_end.to_owned().into(),
        ..Default::default()
    };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

/// A stream on a connection of its own, with all its watches created.
async fn watch(server: &Server, requests: Vec<WatchRequest>) -> Streaming<WatchResponse> {
    let watches = requests.len();
    let requests = tokio_stream::iter(requests).chain(tokio_stream::pending());
    let answers = bounded(server.clients().watch.watch(requests)).await;
    let mut answers = answers.expect("a watch stream opens").into_inner();
    for _ in 0..watches {
        let answer = next(&mut answers).await;
        assert!(answer.created && !answer.canceled, "{}", answer.cancel_reason);
    }
    answers
}

async fn next(answers: &mut Streaming<WatchResponse>) -> WatchResponse {
    let answer = bounded(answers.message()).await.expect("the stream is alive");
    answer.expect("the stream goes on")
}

/// The first and the last revision written.
async fn write_events(server: &Server) -> (i64, i64) {
    let mut clients = server.clients();
    let value = bytes::Bytes::from(vec![b'x'; EVENT_BYTES]);
    let mut revisions = Vec::new();
    for number in 0..EVENTS {
        let put = put_request(&format!("slow/{}", number % 100), value.clone());
        let answer = bounded(clients.kv.put(put)).await.expect("the server takes writes");
        revisions.extend(answer.into_inner().header.map(|header| header.revision));
    }
    (revisions[0], revisions[revisions.len() - 1])
}

#[derive(Debug, PartialEq)]
enum End {
    Everything,
    Compacted(i64),
}

/// Fails at the first revision that is left out or comes twice.
async fn read_on(answers: &mut Streaming<WatchResponse>, first: i64, last: i64) -> End {
    let mut expected = first;
    while expected <= last {
        let answer = next(answers).await;
        if answer.canceled {
            assert!(expected > first, "what was sent before the compaction is lost");
            return End::Compacted(answer.compact_revision);
        }
        for kv in answer.events.into_iter().filter_map(|event| event.kv) {
            assert_eq!(kv.mod_revision, expected);
            expected += 1;
        }
    }
    End::Everything
}

/// Health checks over both protocols, until the test has seen enough.
struct Health {
    enough: CancellationToken,
    checks: JoinHandle<usize>,
}

impl Health {
    fn watch(server: &Server) -> Self {
        let enough = CancellationToken::new();
        let endpoint = Endpoint::from_shared(server.endpoint()).expect("an endpoint is a URL");
        let checks = check_until(enough.clone(), endpoint.connect_lazy(), server.client_port);
        Self { enough, checks: tokio::spawn(checks) }
    }

    async fn assert_answered(self) {
        self.enough.cancel();
        let answered = bounded(self.checks).await.expect("every health check was answered");
        assert!(answered > 0, "no check came to its end");
    }
}

async fn check_until(enough: CancellationToken, channel: Channel, port: u16) -> usize {
    let mut grpc = HealthClient::new(channel);
    let mut answered = 0;
    while !enough.is_cancelled() {
        let begin = Instant::now();
        let answers = async {
            let answer = grpc.check(HealthCheckRequest::default()).await;
            (answer.expect("gRPC health is answered").into_inner().status, http_health(port).await)
        };
        let answers = tokio::time::timeout(HEALTH_CHECK_MAX, answers).await;
        let (grpc, http) = answers.expect("health checks are answered in time");
        assert_eq!(grpc, 1, "SERVING");
        assert!(http.contains("\"health\":\"true\""), "after {:?}: {http}", begin.elapsed());
        answered += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    answered
}

async fn http_health(port: u16) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).await;
    let mut stream = stream.expect("the server accepts connections");
    let request = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("the socket takes a few bytes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer in plain text");
    answer
}
