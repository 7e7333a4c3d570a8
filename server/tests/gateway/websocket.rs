//! The gateway over a WebSocket.

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use testkit::{Kind, Server, bounded, eventually, subject};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::http::{Http, Lines};

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
