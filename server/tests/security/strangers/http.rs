//! Every path at every address, in plain HTTP.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use prost_reflect::{DescriptorPool, DynamicMessage};
use testkit::{Program, free_port};
use tonic::Code;

use super::planted::{Planted, ROLE, USER};
use super::questions::question;
use super::raw::{ask as ask_rpc, channel, methods, proto_files};
use crate::server::berth;

/// Where the paths are put together.
const ROUTES: &str =
    concat!(include_str!("../../../src/http/mod.rs"), include_str!("../../../src/v2/mod.rs"));

/// What is routed; `{check}` is one of the names of a check.
const PATHS: [&str; 9] = [
    "/health",
    "/livez",
    "/livez/{check}",
    "/readyz",
    "/readyz/{check}",
    "/metrics",
    "/members",
    "/version",
    "/v2/{*path}",
];

/// What `/v2/{*path}` stands for. With auth on nobody is told anything by any of them.
const V2: [&str; 8] = [
    "/v2/keys",
    "/v2/keys/planted?recursive=true&quorum=true",
    "/v2/keys/planted?wait=true&waitIndex=1",
    "/v2/machines",
    "/v2/members",
    "/v2/members/leader",
    "/v2/stats/self",
    "/v2/stats/store",
];

/// What etcd has at its addresses, in one version or another, and berth has not.
const ETCDS: [&str; 14] = [
    "/",
    "/config/local/log",
    "/debug/pprof/heap",
    "/debug/requests",
    "/debug/vars",
    "/downgrade/enabled",
    "/lease",
    "/leases/internal",
    "/members/hashkv",
    "/raft",
    "/raft/probing",
    "/raft/snapshot",
    "/raft/stream/message/1",
    "/v2/auth/users",
];

/// What the gateway tells anybody.
const OPEN: [&str; 1] = ["/v3/auth/status"];

/// Paths that both serve: the same status is expected of both.
const SHARED: [&str; 3] = ["/health", "/metrics", "/version"];

/// For an answer that does not end.
const PATIENCE: Duration = Duration::from_secs(10);

/// One body for all methods of the JSON gateway: fields that a method does not know are ignored, or
/// refused with the whole.
fn body() -> String {
    format!(
        r#"{{"key":"AA==","range_end":"AA==","name":"{USER}","role":"{ROLE}","create_request":{{"key":"AA==","range_end":"AA==","start_revision":1}}}}"#
    )
}

/// The paths of the JSON gateway, each with what is asked of its method, as JSON.
fn gateway_questions() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/proto/etcd");
    let mut questions = Vec::new();
    for file in proto_files(&folder) {
        let text = std::fs::read_to_string(file).unwrap();
        for service in text.split("\nservice ").skip(1) {
            for rpc in service.split("  rpc ").skip(1) {
                let method = format!("{}/{}", upto(service, ' '), upto(rpc, '('));
                let paths = rpc.split("post: \"").skip(1).map(|rest| upto(rest, '"').to_owned());
                questions.extend(paths.map(|path| (path, question_as_json(&method))));
            }
        }
    }
    questions
}

fn upto(text: &str, end: char) -> &str {
    text.split(end).next().unwrap()
}

fn question_as_json(method: &str) -> String {
    let pool = DescriptorPool::decode(api::DESCRIPTORS).unwrap();
    let (service, name) = method.split_once('/').unwrap();
    let service = pool.services().find(|known| known.name() == service).unwrap();
    let known = service.methods().find(|known| known.name() == name).unwrap();
    let asked = question(method).unwrap();
    let message = DynamicMessage::decode(known.input(), asked.as_slice()).unwrap();
    serde_json::to_string(&message).unwrap()
}

/// The whole answer, up to the end of the connection or what a stream has said at once.
fn ask(port: u16, method: &str, path: &str, token: Option<&str>) -> Vec<u8> {
    say(port, method, path, token, &body())
}

fn say(port: u16, method: &str, path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let token = token.map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{token}Content-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A server may close as soon as it has answered, before it has read the body.
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 "), "{method} {path}: {answer:?}");
    answer
}

fn status(answer: &[u8]) -> u16 {
    let line = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
    line[9..].parse().unwrap_or_else(|_| panic!("{line} is no status line"))
}

/// With one address more, for metrics; its port.
async fn planted(program: Program) -> (Planted, u16) {
    let metrics = free_port();
    let flag = format!("--listen-metrics-urls=http://127.0.0.1:{metrics}");
    (Planted::with_flags(program, &[&flag, "--enable-v2"]).await, metrics)
}

#[test]
fn every_path_is_asked() {
    // Shows that the paths asked are those that the server routes.
    let routed = ROUTES.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    assert_eq!(routed.collect::<BTreeSet<_>>(), PATHS.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_tells_a_stranger_anything() {
    // Shows that with auth on no path, of berth's or of etcd's, at any address, by any verb, holds
    // anything that was planted or changes anything; and that what only etcd has is not there.
    let (planted, metrics) = planted(berth()).await;
    let before = planted.contents().await;
    let own = PATHS.iter().filter(|path| !path.starts_with("/v2")).chain(&V2);
    let own: Vec<_> = own.map(|path| path.replace("{check}", "serializable_read")).collect();
    for port in [planted.server.client_port, metrics, planted.server.peer_port] {
        for verb in ["GET", "POST", "PUT", "DELETE"] {
            for (path, is_own) in
                own.iter().map(|path| (path.as_str(), true)).chain(ETCDS.map(|path| (path, false)))
            {
                for token in [None, Some("nonsense")] {
                    let answer = ask(port, verb, path, token);
                    let what = format!("{verb} {path}: {}", String::from_utf8_lossy(&answer));
                    assert_eq!(planted.found_in(&answer), None, "{what}");
                    assert!(is_own || status(&answer) == 404, "{what}");
                    // Nobody is let in by a verb either; paths for members have none of it.
                    let is_closed = matches!(status(&answer), 401 | 404 | 405);
                    assert!(!path.starts_with("/v2/") || is_closed, "{what}");
                }
            }
        }
    }
    assert_eq!(planted.contents().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_tells_a_stranger_nothing() {
    // Shows that every method is refused by JSON as it is by gRPC: nothing that was planted is in
    // an answer, nothing is changed, and at other addresses there is no gateway.
    let (planted, metrics) = planted(berth()).await;
    let before = planted.contents().await;
    let questions = gateway_questions();
    assert!(questions.len() > 50, "{questions:?}");
    for (path, body) in &questions {
        for token in [None, Some("nonsense")] {
            let answer = say(planted.server.client_port, "POST", path, token, body);
            let what = format!("{path} {body}: {}", String::from_utf8_lossy(&answer));
            assert_eq!(planted.found_in(&answer), None, "{what}");
            // A watch is refused by a message, and a keep-alive by one behind the head.
            let reasons = ["user name is empty", "invalid auth token", "authentication failed"];
            let refused = reasons.iter().any(|reason| what.contains(reason));
            assert!(refused || OPEN.contains(&path.as_str()), "{what}");
        }
        for port in [metrics, planted.server.peer_port] {
            assert_eq!(status(&ask(port, "POST", path, None)), 404, "{path}");
        }
    }
    assert_eq!(planted.contents().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_paths_answer_as_etcds() {
    // Shows that the paths which both serve to anybody do so with auth on, with the same status:
    // a probe that has no token must not take a member for a sick one. So must the newer probes.
    let (ours, theirs) = (Planted::new(berth()).await, Planted::new(Program::etcd()).await);
    for path in SHARED {
        let ours = status(&ask(ours.server.client_port, "GET", path, None));
        let theirs = status(&ask(theirs.server.client_port, "GET", path, None));
        assert_eq!((ours, theirs), (200, 200), "{path}");
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(status(&ask(ours.server.client_port, "GET", path, None)), 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_not_served_where_they_do_not_belong() {
    // Shows that no RPC for clients is there at an address for members or for metrics, whatever the
    // token.
    let (planted, metrics) = planted(berth()).await;
    let token = [("token", planted.token.clone())];
    for port in [metrics, planted.server.peer_port] {
        let channel = channel(&format!("http://127.0.0.1:{port}"));
        for method in methods("etcd", "etcdserverpb") {
            let message = question(method.path.rsplit_once('.').unwrap().1).unwrap();
            let answer = ask_rpc(&channel, &method, message, &token).await;
            assert_eq!(answer.code, Code::Unimplemented, "{}: {answer:?}", method.path);
        }
    }
}
