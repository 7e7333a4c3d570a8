//! Bytes and streams that no sane client sends. The server answers or hangs up; it never stops
//! serving the others.

use std::time::Duration;

use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::*;
use bytes::{Buf, BufMut, Bytes};
use testkit::{Program, Server, bounded, subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::store::{Outcome, assert_serves, outcome, put};

/// Messages as plain bytes: what protobuf would never produce.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let len = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(len)))
    }
}

/// Sends `message` to a method, whatever that is.
async fn send_raw(server: &Server, path: &'static str, message: Bytes) -> Outcome {
    let mut grpc = Grpc::new(channel(server).await);
    grpc.ready().await.expect("the server accepts connections");
    let path = path.parse().expect("a method's path");
    outcome(bounded(grpc.unary(tonic::Request::new(message), path, Raw)).await)
}

async fn channel(server: &Server) -> Channel {
    let endpoint = Endpoint::from_shared(server.endpoint()).expect("an endpoint is a URL");
    bounded(endpoint.connect()).await.expect("the server accepts connections")
}

/// Method and message that no server can understand, with the code both have to give.
const MESSAGES: &[(&str, &[u8], Code)] = &[
    ("/etcdserverpb.KV/Range", b"\xff\xff\xff\xff", Code::Internal),
    // A field that says it is longer than the message.
    ("/etcdserverpb.KV/Put", b"\x0a\x7fshort", Code::Internal),
    ("/etcdserverpb.KV/Txn", b"\x12\x05\x12\x7f\x0a\x01k", Code::Internal),
    (
        "/etcdserverpb.Lease/LeaseGrant",
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        Code::Internal,
    ),
    ("/etcdserverpb.KV/Nonsense", b"", Code::Unimplemented),
    ("/nonsense.Service/Method", b"", Code::Unimplemented),
];

/// Proves that messages which are no protobuf, and methods that do not exist, are refused with
/// etcd's codes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_messages_are_refused() {
    for program in [Program::etcd(), subject!()] {
        let mut server = Server::start(program, &[]).await;
        for (path, message, code) in MESSAGES {
            let answer = send_raw(&server, path, Bytes::from_static(message)).await;
            assert_eq!(answer.0, *code, "{:?} {path}: {}", server.program.kind, answer.1);
        }
        assert_serves(&mut server).await;
    }
}

/// Proves that a message above the receive limit is refused as etcd refuses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_above_the_receive_limit_is_refused() {
    for program in [Program::etcd(), subject!()] {
        let mut server = Server::start(program, &[]).await;
        let request = crate::store::put_request("k", vec![0; 3 << 20]);
        let (code, text) = outcome(bounded(server.clients().kv.put(request)).await);
        assert_eq!(code, Code::ResourceExhausted, "{:?}: {text}", server.program.kind);
        assert!(text.contains("larger than max"), "{:?}: {text}", server.program.kind);
        assert_serves(&mut server).await;
    }
}

/// What a connection may begin with.
const OPENINGS: &[&[u8]] = &[
    b"",
    b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"nonsense\r\n\r\n",
    b"GET /version HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    // A preface, and a frame longer than any server takes.
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x00\x00\x00\x00\x00\x01garbage",
    // A preface, settings, and a data frame on a stream that was never opened.
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x04\0\x01\0\0\0\x09abcd",
    // A client hello of TLS, cut off.
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
];

/// Proves that connections which begin with garbage, or stay silent, harm nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_silence_on_a_connection_harm_nobody() {
    let mut server = Server::start(subject!(), &[]).await;
    let mut open = Vec::new();
    for opening in OPENINGS.iter().cycle().take(200) {
        let stream = TcpStream::connect(("127.0.0.1", server.client_port)).await;
        let mut stream = stream.expect("the server accepts connections");
        stream.write_all(opening).await.expect("the socket takes a few bytes");
        open.push(stream);
    }
    assert_serves(&mut server).await;
    for mut stream in open {
        stream.shutdown().await.ok();
        // Whatever it answers, it has to close the connection once the client has.
        let mut rest = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest));
        end.await.expect("the server lets go of a closed connection").ok();
    }
    assert_serves(&mut server).await;
}

/// Proves that calls which begin and never send their message neither block others nor keep the
/// server from stopping.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_calls_block_nobody() {
    let mut server = Server::start(subject!(), &[]).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let channel = channel(&server).await;
        for _ in 0..50 {
            let mut grpc = Grpc::new(channel.clone());
            calls.spawn(async move {
                grpc.ready().await.expect("the server accepts connections");
                let never = tokio_stream::pending::<Bytes>();
                let path = "/etcdserverpb.KV/Put".parse().expect("a method's path");
                let request = tonic::Request::new(never);
                let _ = grpc.client_streaming::<_, Bytes, Bytes, Raw>(request, path, Raw).await;
            });
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_serves(&mut server).await;
    calls.abort_all();
    assert_serves(&mut server).await;
    server.terminate();
}

/// Proves that a client which closes its half of a watch stream is treated as etcd treats it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_closed_watch_behaves_as_with_etcd() {
    let mut seen = Vec::new();
    for program in [Program::etcd(), subject!()] {
        let mut server = Server::start(program, &[]).await;
        seen.push(half_closed_watch(&server).await);
        assert_serves(&mut server).await;
    }
    assert_eq!(seen[0], seen[1]);
}

/// What comes after the client has closed its half: the end of the stream, or an event.
async fn half_closed_watch(server: &Server) -> String {
    let mut clients = server.clients();
    let create = WatchCreateRequest { key: "k".into(), ..Default::default() };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let answers = bounded(clients.watch.watch(tokio_stream::once(request))).await;
    let mut answers = answers.expect("a watch stream opens").into_inner();
    let created = bounded(answers.message()).await;
    assert!(created.is_ok_and(|answer| answer.is_some_and(|answer| answer.created)));
    put(&mut clients, "k", "v").await;
    match bounded(answers.message()).await {
        Ok(Some(answer)) => format!("{} events", answer.events.len()),
        Ok(None) => "the end".to_owned(),
        Err(refusal) => format!("{:?}", refusal.code()),
    }
}

/// Proves that an empty watch request, and one of no known kind, leave the stream alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_request_of_no_kind_is_ignored() {
    for program in [Program::etcd(), subject!()] {
        let mut server = Server::start(program, &[]).await;
        let create = WatchCreateRequest { key: "k".into(), ..Default::default() };
        let requests = vec![
            WatchRequest { request_union: None },
            WatchRequest {
                request_union: Some(RequestUnion::CancelRequest(WatchCancelRequest {
                    watch_id: 77,
                })),
            },
            WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) },
        ];
        // Endless on the client's side: only the server could end the stream.
        let requests =
            tokio_stream::StreamExt::chain(tokio_stream::iter(requests), tokio_stream::pending());
        let mut watch = server.clients().watch;
        let answers = bounded(watch.watch(requests)).await;
        let mut answers = answers.expect("a watch stream opens").into_inner();
        let created = bounded(answers.message()).await.expect("the stream is alive");
        assert!(created.is_some_and(|answer| answer.created && !answer.canceled));
        assert_serves(&mut server).await;
    }
}
