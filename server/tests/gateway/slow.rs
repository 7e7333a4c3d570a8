//! Many clients that ask for much and read it slowly.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use testkit::{Kind, Server, bounded, subject};

use super::http::Http;

const VALUES: usize = 384;
const VALUE_BYTES: usize = 64 << 10;
/// Of each API. All that they asked for together would be several times [`MEMORY_BYTES_MAX`].
const READERS: usize = 48;
/// What is stored twice, and what a debug build of the server needs beside it.
const MEMORY_BYTES_MAX: u64 = 700 << 20;

const LIST: &str = "/v2/keys/slow?recursive=true";
/// Everything from `/slow/` on.
const RANGE: &str = r#"{"key":"L3Nsb3cv","range_end":"L3Nsb3cw"}"#;

/// Proves that large answers in JSON, of the gateway and of the v2 API, cost bounded memory however
/// many clients wait for them and do not read; that others are served meanwhile; and that who reads
/// on at last has all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_of_large_answers_cost_little() {
    let program = subject!();
    let is_berth = program.kind == Kind::Berth;
    let server = Server::start(program, &["--enable-v2"]).await;
    write_values(&server).await;
    let mut slow = Vec::new();
    for _ in 0..READERS {
        for (verb, path, body) in [("POST", "/v3/kv/range", RANGE), ("GET", LIST, "")] {
            let mut http = Http::connect(server.client_port).await;
            let response = http.open(verb, path, &[], body).await.unwrap();
            assert_eq!(response.status(), 200);
            let mut body = response.into_body();
            let first = bounded(body.frame()).await.unwrap().unwrap().into_data().unwrap();
            slow.push((http, path, first, body));
        }
    }
    let mut http = Http::connect(server.client_port).await;
    let range = http.send("POST", "/v3/kv/range", &[], RANGE).await;
    assert_range(&serde_json::from_slice(&range.body).unwrap());
    let list = http.send("GET", LIST, &[], "").await;
    assert_list(&serde_json::from_slice(&list.body).unwrap());
    if is_berth {
        let peak_bytes = peak_bytes(&server);
        println!("peak of resident memory: {} MiB", peak_bytes >> 20);
        assert!(peak_bytes < MEMORY_BYTES_MAX, "{} MiB", peak_bytes >> 20);
    }
    for _ in 0..2 {
        let (_http, path, first, rest) = slow.pop().unwrap();
        let whole = read_on(first, rest).await;
        if path == LIST { assert_list(&whole) } else { assert_range(&whole) }
    }
}

async fn write_values(server: &Server) {
    let mut clients = server.clients();
    let mut http = Http::connect(server.client_port).await;
    for number in 0..VALUES {
        let letter = letter(number);
        let put = api::etcdserverpb::PutRequest {
            key: format!("/slow/{number:03}").into(),
            value: vec![letter; VALUE_BYTES].into(),
            ..Default::default()
        };
        bounded(clients.kv.put(put)).await.unwrap();
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let value = format!("value={}", char::from(letter).to_string().repeat(VALUE_BYTES));
        let path = format!("/v2/keys/slow/dir/{number:03}");
        assert_eq!(http.send("PUT", &path, &form, value).await.status, 201);
    }
}

fn letter(number: usize) -> u8 {
    b'a' + u8::try_from(number % 26).unwrap()
}

async fn read_on(first: Bytes, mut rest: Incoming) -> Value {
    let mut text = first.to_vec();
    while let Some(frame) = bounded(rest.frame()).await {
        text.extend_from_slice(&frame.expect("it is not broken off").into_data().unwrap());
    }
    serde_json::from_slice(&text).unwrap()
}

fn assert_range(answer: &Value) {
    assert_eq!(answer["count"], VALUES.to_string());
    assert!(answer["header"]["revision"].is_string());
    let kvs = answer["kvs"].as_array().unwrap();
    assert_eq!(kvs.len(), VALUES);
    for (number, kv) in kvs.iter().enumerate() {
        assert_eq!(kv["version"], "1");
        assert_eq!(kv["value"].as_str().unwrap().len(), VALUE_BYTES.div_ceil(3) * 4, "{number}");
    }
}

fn assert_list(answer: &Value) {
    assert_eq!(answer["action"], "get");
    let nodes = answer["node"]["nodes"][0]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), VALUES);
    for (number, node) in nodes.iter().enumerate() {
        assert_eq!(node["key"], format!("/slow/dir/{number:03}"));
        let value = node["value"].as_str().unwrap();
        let letter = char::from(letter(number));
        assert!(value.len() == VALUE_BYTES && value.chars().all(|it| it == letter), "{number}");
    }
}

fn peak_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid().unwrap()));
    let status = status.unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

const LINE_BYTES: usize = 8 << 20;
/// Their lines together are twice what may wait for clients; what sockets take of each is far less.
const WATCHERS: usize = 12;
/// A watch of `line` from revision 1 on.
const WATCH: &str = r#"{"create_request":{"key":"bGluZQ==","start_revision":"1"}}"#;

/// What comes of a watch beyond its first line, which says that it is there.
async fn beyond_created(body: &mut Incoming) -> Vec<u8> {
    let mut text = Vec::new();
    loop {
        let frame = bounded(body.frame()).await.unwrap().unwrap();
        text.extend_from_slice(&frame.into_data().unwrap());
        if let Some(end) = text.iter().position(|byte| *byte == b'\n')
            && text.len() > end + 1
        {
            return text.split_off(end + 1);
        }
    }
}

/// Reads on to the end of the line that `text` begins.
async fn line(mut text: Vec<u8>, body: &mut Incoming) -> Value {
    while text.last() != Some(&b'\n') {
        let frame = bounded(body.frame()).await.expect("the line has an end").unwrap();
        text.extend_from_slice(&frame.into_data().unwrap());
    }
    serde_json::from_slice(&text).unwrap()
}

async fn watch(http: &mut Http) -> Incoming {
    let response = http.open("POST", "/v3/watch", &[], WATCH).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body()
}

/// Proves that lines of watches that nobody reads are counted together: past the bound a watcher is
/// told that there is no room, and to ask again; the others have their lines whole when they read;
/// and then there is room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_wait_for_clients_are_counted() {
    let program = subject!();
    if program.kind == Kind::Etcd {
        // It counts none.
        return;
    }
    let server = Server::start(program, &["--max-request-bytes=16777216"]).await;
    let put = api::etcdserverpb::PutRequest {
        key: "line".into(),
        value: vec![b'x'; LINE_BYTES].into(),
        ..Default::default()
    };
    bounded(server.clients().kv.put(put)).await.unwrap();
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let mut http = Http::connect(server.client_port).await;
        let body = watch(&mut http).await;
        watchers.push((http, body));
    }
    // Of each only the beginning is taken: those that have room keep it, the others wait in vain.
    let mut begun = Vec::new();
    let mut refused = 0;
    for (http, mut body) in watchers {
        let text = beyond_created(&mut body).await;
        if text.starts_with(b"{\"error\"") {
            let told = line(text, &mut body).await;
            assert_eq!(told["error"]["grpc_code"], 8, "{told}");
            refused += 1;
        } else {
            begun.push((http, body, text));
        }
    }
    println!("{} had room for their lines, {refused} had not", begun.len());
    assert!(!begun.is_empty() && refused > 0, "{} and {refused}", begun.len());
    for (_http, mut body, text) in begun {
        let told = line(text, &mut body).await;
        let value = told["result"]["events"][0]["kv"]["value"].as_str().unwrap();
        assert_eq!(value.len(), LINE_BYTES.div_ceil(3) * 4);
    }
    let mut http = Http::connect(server.client_port).await;
    let mut again = watch(&mut http).await;
    let text = beyond_created(&mut again).await;
    assert!(text.starts_with(b"{\"result\""), "there is room again");
}
