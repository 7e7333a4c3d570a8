//! APISIX's calls by JSON, as lua-resty-etcd makes them.

use serde_json::{Value, json};
use testkit::{Program, Server, subject};

use super::http::{Http, Lines};

/// Base64, as the gateway has it.
fn b64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}

fn prefix(start: &str) -> Value {
    let mut end = start.as_bytes().to_vec();
    *end.last_mut().unwrap() += 1;
    json!({ "key": b64(start), "range_end": b64(&String::from_utf8(end).unwrap()) })
}

/// An answer without what no two clusters share.
fn plain(mut answer: Value) -> Value {
    for header in ["/header", "/result/header"] {
        if let Some(Value::Object(header)) = answer.pointer_mut(header) {
            header.retain(|name, _| name == "revision");
        }
    }
    answer
}

/// Proves that a gateway's life is answered on berth as on etcd: the version that it starts by, its
/// routes written and read, its lease, one watch of everything, and a compaction below that watch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apisix_lives_as_with_etcd() {
    let mut seen = Vec::new();
    for program in [Program::etcd(), subject!()] {
        let server = Server::start(program, &[]).await;
        seen.push(life(&server).await);
    }
    assert!(seen[0].len() > 12, "{seen:?}");
    assert_eq!(seen[0], seen[1]);
}

async fn life(server: &Server) -> Vec<Value> {
    let mut http = Http::connect(server.client_port).await;
    let version = http.send("GET", "/version", &[], "").await;
    let version: Value = serde_json::from_slice(&version.body).unwrap();
    let parts: Vec<u32> =
        version["etcdcluster"].as_str().unwrap().split('.').map(|it| it.parse().unwrap()).collect();
    assert!(parts >= vec![3, 4, 0], "{version}");

    let mut told = Vec::new();
    let mut say = |answer: Value| told.push(plain(answer));
    let route = "/apisix/routes/1";
    let value = b64(r#"{"uri":"/hello"}"#);
    say(http
        .call(
            "/v3/kv/put",
            &json!({ "key": b64("/apisix/routes/"), "value": b64("init_dir") }).to_string(),
        )
        .await);
    say(http
        .call(
            "/v3/kv/put",
            &json!({ "key": b64(route), "value": value, "prev_kv": true }).to_string(),
        )
        .await);
    say(http.call("/v3/kv/range", &prefix("/apisix/routes").to_string()).await);
    let made = json!({
        "compare": [{ "key": b64(route), "target": "CREATE", "create_revision": 0 }],
        "success": [{ "requestPut": { "key": b64(route), "value": value } }],
        "failure": [{ "requestRange": { "key": b64(route) } }],
    });
    say(http.call("/v3/kv/txn", &made.to_string()).await);
    say(http.call("/v3/lease/grant", &json!({ "TTL": 600, "ID": 51 }).to_string()).await);
    let node =
        json!({ "key": b64("/apisix/data_plane/server_info/x"), "value": value, "lease": 51 });
    say(http.call("/v3/kv/put", &node.to_string()).await);
    say(http.call("/v3/lease/keepalive", &json!({ "ID": 51 }).to_string()).await);
    say(http.call("/v3/lease/leases", "{}").await);
    let asked = json!({ "ID": 51, "keys": true }).to_string();
    let left = http.call("/v3/kv/lease/timetolive", &asked).await;
    say(json!({ "granted": left["grantedTTL"], "keys": left["keys"] }));

    let mut create = prefix("/apisix/");
    create["start_revision"] = json!(2);
    let body = json!({ "create_request": create }).to_string();
    let mut watching = Http::connect(server.client_port).await;
    let answer = watching.open("POST", "/v3/watch", &[], body.clone()).await.unwrap();
    let mut lines = Lines::of(answer.into_body());
    let mut events = Vec::new();
    say(http.call("/v3/kv/deleterange", &json!({ "key": b64(route) }).to_string()).await);
    say(http.call("/v3/kv/lease/revoke", &json!({ "ID": 51 }).to_string()).await);
    while events.len() < 5 {
        let line = lines.next().await.expect("the watch goes on");
        events.extend(line["result"]["events"].as_array().cloned().unwrap_or_default());
    }
    events.into_iter().for_each(&mut say);

    let compaction = json!({ "revision": 5, "physical": true }).to_string();
    say(http.call("/v3/kv/compaction", &compaction).await);
    let mut late = Http::connect(server.client_port).await;
    let answer = late.open("POST", "/v3/watch", &[], body).await.unwrap();
    let mut lines = Lines::of(answer.into_body());
    let compacted = loop {
        let line = lines.next().await.expect("it is told");
        if line["result"]["canceled"] == true {
            break line["result"]["compact_revision"].clone();
        }
    };
    say(json!({ "compacted": compacted }));
    told
}
