//! What the log says of requests that take long.

use api::etcdserverpb::{PutRequest, RangeRequest};
use testkit::{Kind, Server, bounded, eventually, subject};

/// The line about a method, once it is there.
async fn line(server: &Server, method: &str) -> serde_json::Value {
    eventually(method, 60, async || {
        let log = server.log_tail();
        let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
        let mut told = lines.filter(|line: &serde_json::Value| {
            line["msg"] == "apply request took too long" && line["method"] == method
        });
        told.next().ok_or(log)
    })
    .await
}

/// Proves that a request which takes longer than was asked for is told in etcd's words, with its time
/// and that of each step; and that one which does not is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_requests_are_told_with_their_steps() {
    let program = subject!();
    if program.kind == Kind::Etcd {
        // Its line has other fields.
        return;
    }
    let slow = Server::start(program.clone(), &["--warning-unary-request-duration=1ns"]).await;
    let quick = Server::start(program, &["--warning-unary-request-duration=10m"]).await;
    for server in [&slow, &quick] {
        let mut kv = server.clients().kv;
        let put = PutRequest { key: "k".into(), ..Default::default() };
        bounded(kv.put(put)).await.unwrap();
        let range = RangeRequest { key: "k".into(), ..Default::default() };
        bounded(kv.range(range)).await.unwrap();
    }
    let put = line(&slow, "Put").await;
    let steps = put["steps"].as_str().unwrap();
    for step in ["propose ", "log write ", "log sync ", "apply "] {
        assert!(steps.contains(step), "{put}");
    }
    assert!(put["took"].as_str().unwrap().ends_with("ms"), "{put}");
    assert_eq!(put["expected-duration"], "0.000ms");
    assert_eq!(put["code"], "OK");
    let range = line(&slow, "Range").await;
    let steps = range["steps"].as_str().unwrap();
    assert!(steps.contains("read index ") && steps.contains("range "), "{range}");
    assert!(!quick.log_tail().contains("took too long"), "{}", quick.log_tail());
}
