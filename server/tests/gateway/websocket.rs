//! The gateway over a WebSocket.

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use testkit::{Kind, Program, Server, bounded, eventually, subject};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::http::{Http, Lines};
use super::replay::mask;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(server: &Server, path: &str, headers: &[(&'static str, String)]) -> Socket {
    let mut request =
        format!("ws://127.0.0.1:{}{path}", server.client_port).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    bounded(connect_async(request)).await.unwrap().0
}

async fn say(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
}

/// The next answer; `None`: the server ended it.
async fn hear(socket: &mut Socket) -> Option<Value> {
    loop {
        match bounded(socket.next()).await? {
            Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
            Ok(Message::Close(_)) | Err(Error::Protocol(_)) => return None,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Proves that requests can follow each other on one watch, which plain HTTP cannot do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_come_and_go_on_one_socket() {
    let server = Server::start(subject!(), &[]).await;
    let mut http = Http::connect(server.client_port).await;
    let mut socket = open(&server, "/v3/watch", &[]).await;
    say(&mut socket, r#"{"create_request":{"key":"YQ==","watch_id":"1"}}"#).await;
    assert_eq!(hear(&mut socket).await.unwrap()["result"]["created"], true);
    http.call("/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#).await;
    let event = hear(&mut socket).await.unwrap();
    assert_eq!(event["result"]["events"][0]["kv"]["value"], "MQ==");
    say(&mut socket, r#"{"create_request":{"key":"Yg==","watch_id":"2"}}"#).await;
    assert_eq!(hear(&mut socket).await.unwrap()["result"]["watch_id"], "2");
    say(&mut socket, r#"{"cancel_request":{"watch_id":"1"}}"#).await;
    assert_eq!(hear(&mut socket).await.unwrap()["result"]["canceled"], true);
    http.call("/v3/kv/put", r#"{"key":"YQ==","value":"Mg=="}"#).await;
    http.call("/v3/kv/put", r#"{"key":"Yg==","value":"Mw=="}"#).await;
    let event = hear(&mut socket).await.unwrap();
    assert_eq!(event["result"]["events"][0]["kv"]["value"], "Mw==", "the first is cancelled");
}

/// How many watches the server has, by its own count.
async fn watches(http: &mut Http) -> Result<(), String> {
    let metrics = http.send("GET", "/metrics", &[], "").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let name = "etcd_debugging_mvcc_watcher_total ";
    match metrics.lines().find_map(|line| line.strip_prefix(name)) {
        Some("0") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// Proves that nothing is left of a watch whose client went away without a word, be it a WebSocket
/// or plain HTTP, although nothing happens that it could be told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_with_its_client() {
    let server = Server::start(subject!(), &[]).await;
    let mut http = Http::connect(server.client_port).await;
    let create = r#"{"create_request":{"key":"YQ=="}}"#;
    let mut socket = open(&server, "/v3/watch", &[]).await;
    say(&mut socket, create).await;
    hear(&mut socket).await.unwrap();
    assert!(watches(&mut http).await.is_err());
    drop(socket);
    eventually("the watch of the WebSocket ends", 60, async || watches(&mut http).await).await;

    let mut other = Http::connect(server.client_port).await;
    let response = other.open("POST", "/v3/watch", &[], create).await.unwrap();
    let mut lines = Lines::of(response.into_body());
    lines.next().await.unwrap();
    assert!(watches(&mut http).await.is_err());
    drop((lines, other));
    eventually("the watch by HTTP ends", 60, async || watches(&mut http).await).await;
}

/// What is sent on one socket in one go, and how many answers are waited for; `None`: all, to its end.
struct Talk {
    path: &'static str,
    frames: Vec<Message>,
    answers: Option<usize>,
    /// The code that later versions of etcd answer.
    later: Option<i64>,
}

fn talk<const N: usize>(path: &'static str, frames: [Message; N]) -> Talk {
    Talk { path, frames: frames.into(), answers: None, later: None }
}

fn talks() -> Vec<Talk> {
    const RANGE: &str = "/v3/kv/range";
    const WATCH: &str = "/v3/watch";
    let text = |text: &str| Message::text(text);
    let bytes = |bytes: &'static [u8]| Message::binary(bytes);
    let create = r#"{"create_request":{"key":"YQ=="}}"#;
    let key = r#"{"key":"YQ=="}"#;
    let large = format!(r#"{{"key":"{}"}}"#, "A".repeat(4_000_000));
    let one = |talk: Talk| Talk { answers: Some(1), ..talk };
    vec![
        talk(RANGE, [text("{bad")]),
        talk(RANGE, [text("[]")]),
        talk(RANGE, [text("null")]),
        talk(RANGE, [text(r#"{"key":"!!"}"#)]),
        talk(RANGE, [text(r#"{"key":5}"#)]),
        talk(RANGE, [bytes(key.as_bytes())]),
        talk(RANGE, [bytes(b"\xff\xfe")]),
        talk(RANGE, [text(""), text(key)]),
        talk(RANGE, [text(key), text(key)]),
        talk(RANGE, [text(key), text("{bad")]),
        talk(RANGE, [Message::Ping("p".into()), text(key)]),
        talk(RANGE, [text(&large)]),
        talk("/v3/nothing", [text("{}")]),
        talk("/v3/lease/keepalive", [text(r#"{"ID":"1"}"#), text("x"), text(r#"{"ID":"1"}"#)]),
        one(talk("/v3/lease/keepalive", [text(r#"{"ID":"1"} {"ID":"2"}"#)])),
        Talk { later: Some(3), ..talk(WATCH, [text("{bad")]) },
        one(talk(WATCH, [text(create), text("{bad")])),
        one(talk(WATCH, [text(create), text("[]")])),
        one(talk(WATCH, [bytes(create.as_bytes()), bytes(b"\x00\x01")])),
    ]
}

/// The answers, without what differs between any two clusters.
async fn answers(server: &Server, talk: &Talk) -> Vec<Value> {
    let mut socket = open(server, talk.path, &[]).await;
    for frame in &talk.frames {
        socket.feed(frame.clone()).await.unwrap();
    }
    bounded(socket.flush()).await.unwrap();
    let mut heard = Vec::new();
    while talk.answers.is_none_or(|count| heard.len() < count) {
        match bounded(socket.next()).await {
            Some(Ok(Message::Text(text))) => {
                let plain = || Value::from(text.trim_end());
                let mut answer = serde_json::from_str(&text).unwrap_or_else(|_| plain());
                mask(&mut answer);
                heard.push(answer);
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            Some(Ok(_)) => {}
        }
    }
    heard
}

/// Proves that bad JSON, what is no text, what follows the end, and what is too large are answered on
/// a WebSocket as by etcd, and that others are served after each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_frames_are_answered_as_by_etcd() {
    let etcd = Server::start(Program::etcd(), &[]).await;
    let subject = Server::start(subject!(), &[]).await;
    let is_berth = subject.program.kind == Kind::Berth;
    let mut http = Http::connect(subject.client_port).await;
    for talk in talks() {
        let (theirs, ours) = (answers(&etcd, &talk).await, answers(&subject, &talk).await);
        let shown: Vec<_> = talk.frames.iter().map(ToString::to_string).collect();
        let shown = format!("{} {:.200}", talk.path, shown.join(" | "));
        assert!(!theirs.is_empty(), "{shown}");
        match talk.later.filter(|_| is_berth) {
            Some(code) => {
                assert_ne!(ours, theirs, "{shown}");
                assert_eq!(ours[0]["code"], code, "{shown}");
            }
            None => assert_eq!(ours, theirs, "{shown}"),
        }
        http.call("/v3/kv/range", r#"{"key":"YQ=="}"#).await;
    }
    if is_berth {
        // Past any message nothing is held: the socket is closed.
        let text = Message::text(format!(r#"{{"key":"{}"}}"#, "A".repeat(20_000_000)));
        let huge = talk("/v3/kv/range", [text]);
        let mut socket = open(&subject, huge.path, &[]).await;
        // It may be closed before all has gone.
        let _ = bounded(socket.send(huge.frames[0].clone())).await;
        assert_eq!(hear_any(&mut socket).await, None);
        http.call("/v3/kv/range", r#"{"key":"YQ=="}"#).await;
    }
}

/// The next text; `None`: the server ended it, however.
async fn hear_any(socket: &mut Socket) -> Option<String> {
    loop {
        match bounded(socket.next()).await? {
            Ok(Message::Text(text)) => return Some(text.to_string()),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Proves that a lease is kept alive on one socket, and that a call with one answer ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alives_and_single_calls_work() {
    let server = Server::start(subject!(), &[]).await;
    let mut http = Http::connect(server.client_port).await;
    http.call("/v3/lease/grant", r#"{"ID":"9","TTL":"60"}"#).await;
    let mut socket = open(&server, "/v3/lease/keepalive", &[]).await;
    for _ in 0..3 {
        say(&mut socket, r#"{"ID":"9"}"#).await;
        assert_eq!(hear(&mut socket).await.unwrap()["result"]["TTL"], "60");
    }
    let mut socket = open(&server, "/v3/kv/put", &[]).await;
    say(&mut socket, r#"{"key":"YQ==","value":"MQ=="}"#).await;
    assert!(hear(&mut socket).await.unwrap()["header"]["revision"].is_string());
    assert_eq!(hear(&mut socket).await, None);
}

/// Proves that a browser can bring a token, as a subprotocol or as a cookie, and needs one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_comes_as_browsers_can_send_it() {
    let server = Server::start(subject!(), &["--bcrypt-cost=4"]).await;
    let token = super::access::enable_auth(&server).await;
    let call = async |headers: &[(&'static str, String)]| {
        let mut socket = open(&server, "/v3/kv/range", headers).await;
        say(&mut socket, r#"{"key":"YQ=="}"#).await;
        hear(&mut socket).await.unwrap()
    };
    let refused = call(&[]).await;
    assert_eq!(refused["message"], "etcdserver: user name is empty", "{refused}");
    if server.program.kind == Kind::Etcd {
        // etcd 3.4 takes "Bearer" for a part of the token.
        return;
    }
    let bearer = call(&[("sec-websocket-protocol", format!("Bearer, {token}"))]).await;
    assert!(bearer["header"].is_object(), "{bearer}");
    let cookie = call(&[("cookie", format!("a=b; token={token}"))]).await;
    assert!(cookie["header"].is_object(), "{cookie}");
}
