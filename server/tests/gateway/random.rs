//! Requests that nobody would write.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use testkit::{Kind, Program, Server, env_number};

use super::cases::CASES;
use super::http::Http;

const REQUESTS_DEFAULT: u64 = 3_000;
const SEED_DEFAULT: u64 = 6;

/// Paths of calls that wait or stream: they get as long as this.
const WAITING: &[&str] = &[
    "/v3/watch",
    "/v3/lock/lock",
    "/v3/election/campaign",
    "/v3/election/observe",
    "/v3/maintenance/snapshot",
];
const WAIT: (&str, &str) = ("grpc-timeout", "20m");

/// Names that mean something to one method or another.
const NAMES: &[&str] = &[
    "key",
    "range_end",
    "rangeEnd",
    "value",
    "lease",
    "limit",
    "revision",
    "sort_order",
    "ID",
    "TTL",
    "keys",
    "compare",
    "success",
    "failure",
    "request_put",
    "request_range",
    "request_txn",
    "name",
    "password",
    "role",
    "perm",
    "permType",
    "leader",
    "rev",
    "action",
    "memberID",
    "peerURLs",
    "version",
    "target",
    "result",
    "options",
    "filters",
];

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(|number| Value::from(number.to_string())),
        "[A-Za-z0-9+/]{0,8}={0,2}".prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        prop::sample::select(vec!["EQUAL", "CREATE", "GET", "READ", "DESCEND"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop_oneof![
            4 => prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned),
            1 => "[a-zA-Z_]{1,8}",
        ];
        prop_oneof![
            3 => prop::collection::vec((name, inner.clone()), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            1 => prop::collection::vec(inner, 0..4).prop_map(Value::from),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => json().prop_map(|value| value.to_string().into_bytes()),
        1 => (json(), 0.0..1.0f64).prop_map(|(value, part)| {
            let text = value.to_string().into_bytes();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part")]
            #[expect(clippy::cast_precision_loss, reason = "a part")]
            let len = (text.len() as f64 * part) as usize;
            text[..len].to_vec()
        }),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

/// `BERTH_GATEWAY_SEED` draws others.
fn seeded() -> (TestRunner, u64) {
    let seed = env_number("BERTH_GATEWAY_SEED", SEED_DEFAULT);
    let bytes: Vec<u8> = seed.to_le_bytes().repeat(4);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    (TestRunner::new_with_rng(ProptestConfig::default(), rng), seed)
}

fn path() -> impl Strategy<Value = String> {
    // With auth on nobody would be answered anything else.
    let known: Vec<&str> = CASES
        .iter()
        .map(|case| case.path)
        .filter(|path| path.starts_with("/v3") && !path.contains("auth/enable"))
        .chain(WAITING.iter().copied())
        .collect();
    prop_oneof![
        8 => prop::sample::select(known).prop_map(str::to_owned),
        1 => "/v3(alpha|beta)?(/[a-z.:%?#=&]{0,8}){0,4}",
        1 => "/[!-~]{0,16}",
    ]
}

/// Proves that no request, be it made of noise or of what means something, is answered with an
/// error of the server's, but for those that etcd's recipes have no other code for, and what waits
/// longer than it was given; and that the connection lives on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_an_error_of_the_server() {
    let count = env_number("BERTH_GATEWAY_REQUESTS", REQUESTS_DEFAULT);
    // Never etcd: 3.4 answers 500 to what is no first message of a stream.
    let berth = Program { kind: Kind::Berth, path: env!("CARGO_BIN_EXE_berth").into() };
    let mut server = Server::start(berth, &["--bcrypt-cost=4"]).await;
    let mut http = Http::connect(server.client_port).await;
    let (mut runner, seed) = seeded();
    let verbs =
        prop_oneof![9 => Just("POST"), 1 => prop::sample::select(vec!["GET", "PUT", "OPTIONS"])];
    let request = (verbs, path(), body());
    let mut statuses = std::collections::BTreeMap::new();
    for _ in 0..count {
        let (verb, path, body) = request.new_tree(&mut runner).unwrap().current();
        // What is no path at all is the client's library's to refuse.
        if path.parse::<hyper::Uri>().is_err() {
            continue;
        }
        let shown =
            format!("BERTH_GATEWAY_SEED={seed}: {verb} {path} {}", String::from_utf8_lossy(&body));
        let waits = WAITING.iter().any(|waiting| path.contains(waiting));
        let headers = if waits { &[WAIT][..] } else { &[] };
        let answer = http.send(verb, &path, headers, body).await;
        let told = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status >= 500 && !(waits && answer.status == 504) {
            let told: Value = serde_json::from_str(&told).unwrap_or(json!(told));
            let recipe = ["/v3/lock/", "/v3/election/"].iter().any(|of| path.starts_with(of));
            assert!(recipe && told["code"] == 2, "{shown}: {} {told}", answer.status);
        }
        *statuses.entry(answer.status).or_insert(0) += 1;
        assert!(http.is_open().await, "{shown} closed the connection");
    }
    assert_eq!(server.crash(), None);
    assert!(statuses[&200] > 0 && statuses[&400] > 0, "{statuses:?}");
    println!("{statuses:?}");
}

/// Paths of the other interfaces on the client port.
const OTHER_PATHS: &[&str] = &[
    "/v2/keys",
    "/v2/keys/",
    "/v2/keys/a",
    "/v2/keys/a/b",
    "/v2/keys/_hidden",
    "/v2/members",
    "/v2/members/8e9e05c52164694d",
    "/v2/members/leader",
    "/v2/machines",
    "/v2/stats/self",
    "/v2/stats/leader",
    "/v2/stats/store",
    "/health",
    "/members",
    "/livez",
    "/livez/serializable_read",
    "/readyz",
    "/readyz/data_corruption",
    "/version",
    "/metrics",
    "/debug/vars",
    "/debug/pprof/",
    "/v3",
    "/",
];

/// What their queries and forms know.
const OTHER_NAMES: &[&str] = &[
    "value",
    "ttl",
    "dir",
    "prevValue",
    "prevIndex",
    "prevExist",
    "recursive",
    "sorted",
    "quorum",
    "refresh",
    "noValueOnSuccess",
    "serializable",
    "exclude",
    "verbose",
    "wait",
    "stream",
    "waitIndex",
];

/// `name=value` and so on, as a query or a form.
fn form() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        3 => prop::sample::select(vec!["true", "false", "1", "0", "-1", "99999999999999999999", ""])
            .prop_map(str::to_owned),
        1 => "[a-z0-9%&;=+]{0,8}",
    ];
    let pair = (prop::sample::select(OTHER_NAMES.to_vec()), value);
    prop::collection::vec(pair.prop_map(|(name, value)| format!("{name}={value}")), 0..4)
        .prop_map(|pairs| pairs.join("&"))
}

/// Proves the same of the v2 API and of the pages for operators.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_else_is_an_error_of_the_server() {
    let count = env_number("BERTH_GATEWAY_REQUESTS", REQUESTS_DEFAULT);
    let berth = Program { kind: Kind::Berth, path: env!("CARGO_BIN_EXE_berth").into() };
    let mut server = Server::start(berth, &["--enable-v2"]).await;
    let mut http = Http::connect(server.client_port).await;
    let (mut runner, seed) = seeded();
    let verbs =
        prop::sample::select(vec!["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD"]);
    let bodies = prop_oneof![2 => form().prop_map(String::into_bytes), 1 => body()];
    let kinds = prop::sample::select(vec![
        "application/x-www-form-urlencoded",
        "application/json",
        "multipart/form-data",
        "",
    ]);
    let path = (prop::sample::select(OTHER_PATHS.to_vec()), form());
    let request = (verbs, path, kinds, bodies);
    let mut statuses = std::collections::BTreeMap::new();
    for _ in 0..count {
        let (verb, (path, query), kind, body) = request.new_tree(&mut runner).unwrap().current();
        let path = format!("{path}?{query}");
        let text = String::from_utf8_lossy(&body).into_owned();
        let shown = format!("BERTH_GATEWAY_SEED={seed}: {verb} {path} {kind} {text}");
        let headers = [("content-type", kind)];
        if path.contains("wait=") || text.contains("wait=") {
            // It may wait for ever: the head of the answer comes at once, and nobody stays for more.
            let head = http.open(verb, &path, &headers, body).await.unwrap();
            let status = head.status().as_u16();
            assert!(status < 500, "{shown}: {status}");
            *statuses.entry(status).or_insert(0) += 1;
            http = Http::connect(server.client_port).await;
            continue;
        }
        let answer = http.send(verb, &path, &headers, body).await;
        let told = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status < 500, "{shown}: {} {told}", answer.status);
        *statuses.entry(answer.status).or_insert(0) += 1;
        assert!(http.is_open().await, "{shown} closed the connection");
    }
    assert_eq!(server.crash(), None);
    assert!(statuses[&200] > 0 && statuses[&400] > 0 && statuses[&404] > 0, "{statuses:?}");
    println!("{statuses:?}");
}
