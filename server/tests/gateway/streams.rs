//! Answers that come over time.

use serde_json::{Value, json};
use testkit::{Kind, Server, subject};

use super::http::{Http, Lines};

/// Proves that a watch tells of writes as they happen, and that its connection may close at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sees_what_happens() {
    let server = Server::start(subject!(), &[]).await;
    let mut other = Http::connect(server.client_port).await;
    for round in 1..=3 {
        let mut http = Http::connect(server.client_port).await;
        let body = r#"{"create_request":{"key":"dw==","prev_kv":true}}"#;
        let response = http.open("POST", "/v3/watch", &[], body).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        let mut lines = Lines::of(response.into_body());
        assert_eq!(lines.next().await.unwrap()["result"]["created"], true);
        other.call("/v3/kv/put", r#"{"key":"dw==","value":"MQ=="}"#).await;
        let event = lines.next().await.unwrap()["result"]["events"][0].clone();
        assert_eq!(event["kv"]["version"], round.to_string());
        // PUT is the default, so it is left out.
        assert_eq!(event.get("type"), None);
        assert_eq!(event.get("prev_kv").is_some(), round > 1);
    }
    other.call("/v3/kv/deleterange", r#"{"key":"dw=="}"#).await;
}

/// Proves that `Grpc-Timeout` ends what waits: a watch by its last line, and a lock that another
/// holds by the answer. (etcd's two ends time out at once, and the code is that of the faster.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_ends_what_waits() {
    let server = Server::start(subject!(), &[]).await;
    let is_berth = server.program.kind == Kind::Berth;
    let mut http = Http::connect(server.client_port).await;
    http.call("/v3/lock/lock", r#"{"name":"aGVsZA=="}"#).await;
    let timeout = [("grpc-timeout", "300m")];
    let answer = http.send("POST", "/v3/lock/lock", &timeout, r#"{"name":"aGVsZA=="}"#).await;
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told["message"], "context deadline exceeded");
    assert!(!is_berth || (answer.status == 504 && told["code"] == 4), "{answer:?}");

    let create = r#"{"create_request":{"key":"dw=="}}"#;
    let response = http.open("POST", "/v3/watch", &timeout, create).await.unwrap();
    let mut lines = Lines::of(response.into_body());
    let mut last = Value::Null;
    while let Some(line) = lines.next().await {
        last = line;
    }
    assert_eq!(last["error"]["message"], "context deadline exceeded");
    assert!(!is_berth || last["error"]["grpc_code"] == 4, "{last}");
}

/// Proves that a snapshot comes whole: the pieces count down to nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_comes_in_lines() {
    let server = Server::start(subject!(), &[]).await;
    let mut http = Http::connect(server.client_port).await;
    let value = "A".repeat(1 << 20);
    for key in ["YQ==", "Yg==", "Yw=="] {
        http.call("/v3/kv/put", &json!({ "key": key, "value": value }).to_string()).await;
    }
    let response = http.open("POST", "/v3/maintenance/snapshot", &[], "{}").await.unwrap();
    let mut lines = Lines::of(response.into_body());
    let (mut count, mut last) = (0, Value::Null);
    while let Some(line) = lines.next().await {
        assert!(line["result"]["blob"].is_string(), "{line}");
        (count, last) = (count + 1, line);
    }
    assert!(count > 1, "{count} lines");
    // Zero is the default.
    assert_eq!(last["result"].get("remaining_bytes"), None);
}

/// Proves that an answer of many megabytes is the same by JSON as it was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_come_whole() {
    let server = Server::start(subject!(), &[]).await;
    let mut http = Http::connect(server.client_port).await;
    let value = "QUJD".repeat(300_000);
    for number in 0..20 {
        let key = format!("a{number:02}A");
        http.call("/v3/kv/put", &json!({ "key": key, "value": value }).to_string()).await;
    }
    let all = http.call("/v3/kv/range", r#"{"key":"AA==","range_end":"AA=="}"#).await;
    assert_eq!(all["count"], "20");
    assert!(all["kvs"].as_array().unwrap().iter().all(|kv| kv["value"] == value.as_str()));
}
