//! Who may call, from where, and whether at all.

use api::etcdserverpb::PutRequest;
use serde_json::json;
use testkit::{Kind, Program, Server, bounded, subject};

use super::http::Http;

/// Turns auth on, with a user `root`; its token.
pub(crate) async fn enable_auth(server: &Server) -> String {
    let mut http = Http::connect(server.client_port).await;
    http.call("/v3/auth/user/add", r#"{"name":"root","password":"p"}"#).await;
    http.call("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#).await;
    http.call("/v3/auth/enable", "{}").await;
    let login = r#"{"name":"root","password":"p"}"#;
    let answer = http.call("/v3/auth/authenticate", login).await;
    answer["token"].as_str().unwrap().to_owned()
}

/// Proves that the token in `Authorization` is the caller, on every kind of call, and that without
/// it nothing is served; the refusals are etcd's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authorization_header_is_the_caller() {
    let server = Server::start(subject!(), &["--bcrypt-cost=4"]).await;
    let token = enable_auth(&server).await;
    let mut http = Http::connect(server.client_port).await;
    let mut put = async |headers: &[(&str, &str)]| {
        let body = r#"{"key":"YQ==","value":"MQ=="}"#;
        let answer = http.send("POST", "/v3/kv/put", headers, body).await;
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status, body["code"].clone(), body["message"].clone())
    };
    let nobody = put(&[]).await;
    assert_eq!(nobody, (400, json!(3), json!("etcdserver: user name is empty")));
    let unknown = put(&[("authorization", "nonsense.1")]).await;
    assert_eq!(unknown, (401, json!(16), json!("etcdserver: invalid auth token")));
    assert_eq!(put(&[("authorization", &token)]).await.0, 200);
    assert_eq!(put(&[("grpc-metadata-authorization", &token)]).await.0, 200);
}

/// Proves that `--cors` names the origins that are told so, and that gRPC's own answers and other
/// origins are told nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_origins_of_cors_are_allowed() {
    let flags = ["--cors=http://a.example:80,http://b.example:80"];
    let server = Server::start(subject!(), &flags).await;
    let mut http = Http::connect(server.client_port).await;
    let mut allowed = async |path: &str, verb: &str, origin: &str| {
        let answer = http.send(verb, path, &[("origin", origin)], "{}").await;
        answer.headers.get("access-control-allow-origin").map(|v| v.to_str().unwrap().to_owned())
    };
    for path in ["/v3/kv/range", "/version", "/nothing"] {
        for verb in ["POST", "OPTIONS"] {
            let told = allowed(path, verb, "http://b.example:80").await;
            assert_eq!(told.as_deref(), Some("http://b.example:80"), "{verb} {path}");
            assert_eq!(allowed(path, verb, "http://c.example").await, None, "{verb} {path}");
        }
    }
}

/// Proves that a WebSocket, which a browser opens to any origin without asking, is opened to the
/// origins of `--cors`, to pages that came from this host, and to what is no browser.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_are_for_the_origins_of_cors() {
    let status = async |server: &Server, origin: Option<&str>| {
        let mut headers = vec![
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ];
        headers.extend(origin.map(|origin| ("origin", origin)));
        let mut http = Http::connect(server.client_port).await;
        http.open("GET", "/v3/watch", &headers, "").await.unwrap().status().as_u16()
    };
    let program = subject!();
    if program.kind == Kind::Etcd {
        // It opens them to everyone.
        return;
    }
    let server = Server::start(program.clone(), &["--cors=http://a.example:80"]).await;
    assert_eq!(status(&server, None).await, 101);
    assert_eq!(status(&server, Some("http://a.example:80")).await, 101);
    // The tests' client names this host `h`.
    assert_eq!(status(&server, Some("http://h")).await, 101);
    for stranger in ["http://b.example", "http://a.example", "null", "http://h.example", "h"] {
        assert_eq!(status(&server, Some(stranger)).await, 403, "{stranger}");
    }
    let open_to_all = Server::start(program, &[]).await;
    assert_eq!(status(&open_to_all, Some("http://b.example")).await, 101);
}

/// Proves that `X-HTTP-Method-Override` counts where it counts at etcd: for a form that is posted,
/// which then has no message in it; and that a form in which something is wrong is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verb_is_overridden_as_in_etcd() {
    let form = "application/x-www-form-urlencoded";
    let body = r#"{"key":"YQ=="}"#;
    let mut answers = Vec::new();
    for program in [Program::etcd(), subject!()] {
        let server = Server::start(program, &[]).await;
        let mut http = Http::connect(server.client_port).await;
        let mut seen = Vec::new();
        for verb in ["POST", "GET", "PUT"] {
            for named in ["GET", "post", "DELETE", "PUT", "BREW", ""] {
                for kind in [form, "application/json", "application/x-www-form-urlencoded; a=b"] {
                    for body in [body, "a=%zz"] {
                        for path in ["/v3/kv/range", "/v3/nothing"] {
                            let headers =
                                [("x-http-method-override", named), ("content-type", kind)];
                            let answer = http.send(verb, path, &headers, body).await;
                            let mut text = String::from_utf8_lossy(&answer.body).into_owned();
                            // Ids differ, and JSON's own errors are worded as each library does.
                            let is_json = text.starts_with('{');
                            if is_json && !text.contains("not provided") {
                                text.clear();
                            }
                            seen.push((verb, named, kind, body, path, answer.status, text));
                        }
                    }
                }
            }
        }
        answers.push(seen);
    }
    let (berth, etcd) = (answers.pop().unwrap(), answers.pop().unwrap());
    let empty = |it: &&(_, _, _, _, _, u16, String)| it.5 == 400 && it.6.contains("not provided");
    assert!(berth.iter().filter(empty).count() > 0, "a form has no message");
    assert!(berth.iter().any(|it| it.6 == "invalid URL escape \"%zz\"\n"));
    for (ours, theirs) in berth.iter().zip(&etcd) {
        assert_eq!(ours, theirs);
    }
}

/// Proves that the gateway can be turned off, and that nothing else goes with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_can_be_turned_off() {
    let server = Server::start(subject!(), &["--enable-grpc-gateway=false"]).await;
    let mut http = Http::connect(server.client_port).await;
    let answer = http.send("POST", "/v3/kv/range", &[], r#"{"key":"YQ=="}"#).await;
    assert_eq!((answer.status, &answer.body[..]), (404, &b"404 page not found\n"[..]));
    assert_eq!(http.send("GET", "/version", &[], "").await.status, 200);
}

/// Proves that `--listen-client-http-urls` takes the gateway, and what else is plain HTTP, to an address
/// of its own, and leaves gRPC where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_has_an_address_of_its_own() {
    let program = subject!();
    if program.kind == Kind::Etcd {
        // 3.4 has no such flag.
        return;
    }
    let port = testkit::free_port();
    let flag = format!("--listen-client-http-urls=http://127.0.0.1:{port}");
    let server = Server::start(program, &[&flag]).await;
    let put = PutRequest { key: "a".into(), value: "1".into(), ..Default::default() };
    bounded(server.clients().kv.put(put)).await.unwrap();
    let mut http = Http::connect(port).await;
    let found = http.call("/v3/kv/range", r#"{"key":"YQ=="}"#).await;
    assert_eq!(found["kvs"][0]["value"], "MQ==");
    assert_eq!(http.send("GET", "/version", &[], "").await.status, 200);
    let mut http = Http::connect(server.client_port).await;
    let refused = http.open("POST", "/v3/kv/range", &[], r#"{"key":"YQ=="}"#).await;
    assert!(refused.is_err() || refused.unwrap().status() != 200, "it is for gRPC alone");
}

/// Proves that bodies past any message are refused before they are held, and that what fits the
/// gateway meets the service's own limits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_are_refused() {
    let program = subject!();
    let kind = program.kind;
    let server = Server::start(program, &[]).await;
    let ask = async |len: usize| {
        let mut http = Http::connect(server.client_port).await;
        let body = json!({ "key": "YQ==", "value": "A".repeat(len) }).to_string();
        let answer = http.send("POST", "/v3/kv/put", &[], body).await;
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status, body["code"].clone(), body["message"].as_str().unwrap().to_owned())
    };
    let (status, code, text) = ask(2_200_000).await;
    assert_eq!((status, code, text.as_str()), (400, json!(3), "etcdserver: request is too large"));
    let (status, code, text) = ask(4_000_000).await;
    let words = "grpc: received message larger than max (3000008 vs. 2097152)";
    assert_eq!((status, code, text.as_str()), (429, json!(8), words));
    if kind == Kind::Berth {
        let (status, code, _) = ask(20_000_000).await;
        assert_eq!((status, code), (429, json!(8)));
    }
    let mut http = Http::connect(server.client_port).await;
    http.call("/v3/kv/range", r#"{"key":"YQ=="}"#).await;
}
