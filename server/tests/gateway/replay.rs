//! The same requests, by plain HTTP, to the real etcd and to the subject: status, kind and JSON of
//! the answers are the same, but for what later versions of etcd answer otherwise.

use std::collections::BTreeMap;

use http_body_util::BodyExt;
use serde_json::{Value, json};
use testkit::{Kind, Program, Server, bounded, subject};

use super::cases::{CASES, Case};
use super::http::{Http, Lines};

/// An answer, without what differs between any two clusters.
#[derive(Debug, PartialEq)]
struct Told {
    status: u16,
    kind: Option<String>,
    location: Option<String>,
    cors: Option<String>,
    body: Vec<Value>,
}

impl Told {
    fn code(&self) -> Option<i64> {
        let first = self.body.first()?;
        let code = |value: &Value| value.get("code").or_else(|| value.get("grpc_code"))?.as_i64();
        code(first).or_else(|| code(first.get("error")?))
    }
}

/// What a server chose, by the names that cases have for it.
struct Chosen(BTreeMap<&'static str, String>);

impl Chosen {
    fn by(server: &Server) -> Self {
        Self([("$PEER", format!("127.0.0.1:{}", server.peer_port))].into())
    }

    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn learn(&mut self, answer: &Value) {
        let places =
            [("$OWN", "/header/member_id"), ("$ADDED", "/member/ID"), ("$TOKEN", "/token")];
        for (name, place) in places {
            if let Some(value) = answer.pointer(place).and_then(Value::as_str) {
                self.0.insert(name, value.to_owned());
            }
        }
    }
}

async fn ask(http: &mut Http, case: &Case, chosen: &mut Chosen) -> Told {
    let headers = case.headers.iter().map(|(name, value)| (*name, chosen.fill(value)));
    let headers: Vec<(&str, String)> = headers.collect();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = chosen.fill(case.body);
    let response = http.open(case.verb, case.path, &headers, body).await.unwrap();
    let (parts, body) = response.into_parts();
    let header = |name: &str| Some(parts.headers.get(name)?.to_str().unwrap().to_owned());
    let status = parts.status.as_u16();
    let mut told = Told {
        status,
        kind: header("content-type"),
        location: header("location"),
        cors: header("access-control-allow-origin"),
        body: Vec::new(),
    };
    if status == 301 {
        // Go puts a page of HTML there for some methods.
        told.kind = None;
    } else if case.lines > 0 && status == 200 {
        let mut lines = Lines::of(body);
        for _ in 0..case.lines {
            told.body.push(lines.next().await.unwrap());
        }
    } else {
        let text = bounded(body.collect()).await.unwrap().to_bytes();
        let values = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
        let plain = || vec![Value::String(String::from_utf8_lossy(&text).into_owned())];
        told.body = values.collect::<Result<_, _>>().unwrap_or_else(|_| plain());
    }
    told.body.iter().for_each(|answer| chosen.learn(answer));
    told.body.iter_mut().for_each(mask);
    told
}

/// Replaces what is another at every cluster, and the words for what is no JSON: those are the
/// parser's own.
pub(crate) fn mask(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::Object(fields) => {
            let code = fields.get("code").and_then(Value::as_i64);
            // Time passes.
            let is_running = fields.contains_key("grantedTTL");
            for (name, value) in fields.iter_mut() {
                let own = matches!(name.as_str(), "cluster_id" | "member_id" | "raft_term")
                    || matches!(name.as_str(), "ID" | "memberID" | "peerURLs" | "clientURLs")
                    || matches!(name.as_str(), "hash" | "token")
                    || (is_running && name == "TTL")
                    || (code == Some(3) && is_parsers(value));
                if own {
                    *value = json!("*");
                } else {
                    mask(value);
                }
                if name == "members" {
                    // They are in the order of their ids.
                    sort(value);
                }
            }
            // Of later versions.
            let in_stream = fields.contains_key("grpc_code");
            fields.retain(|name, _| !(in_stream && name == "code"));
        }
        _ => {}
    }
}

fn sort(list: &mut Value) {
    if let Value::Array(values) = list {
        values.sort_by_cached_key(Value::to_string);
    }
}

fn is_parsers(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    !text.is_empty() && !text.starts_with("etcdserver: ") && !text.starts_with("invalid grpc-")
}

/// Every case on a server of its own program, in one order; a connection is kept as long as it can.
async fn record(program: Program) -> Vec<Told> {
    let server = Server::start(program, &["--bcrypt-cost=4"]).await;
    let mut http = Http::connect(server.client_port).await;
    let mut all = Vec::new();
    let mut chosen = Chosen::by(&server);
    for case in CASES {
        all.push(ask(&mut http, case, &mut chosen).await);
        // etcd's Raft drops a change of members that comes before it is done with the last one, and
        // such a call is never answered. A read that goes through Raft comes after that.
        if case.path.starts_with("/v3/cluster/member/") {
            http.call("/v3/kv/range", r#"{"key":"Zm9v"}"#).await;
        }
        // A stream without an end was left in the middle.
        if case.lines > 0 || !http.is_open().await {
            assert!(case.lines > 0, "{case:?} closed the connection");
            http = Http::connect(server.client_port).await;
        }
    }
    all
}

/// Proves that whoever calls the gateway cannot tell which server it is, by requests good and bad,
/// over one connection that survives them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_answered_as_etcd_answers() {
    let program = subject!();
    let is_berth = program.kind == Kind::Berth;
    let (theirs, ours) = tokio::join!(record(Program::etcd()), record(program));
    let mut wrong = Vec::new();
    for ((case, theirs), ours) in CASES.iter().zip(theirs).zip(ours) {
        let expected = match case.later.filter(|_| is_berth) {
            Some((status, code, _)) => {
                ours != theirs && (ours.status, ours.code()) == (status, code)
            }
            None => ours == theirs,
        };
        if !expected {
            wrong.push(format!("{case:?}\n  etcd    {theirs:?}\n  subject {ours:?}"));
        }
    }
    println!("{} requests", CASES.len());
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}
