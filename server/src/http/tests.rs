use super::*;
use api::etcdserverpb::AlarmType;
use axum::body::{Body, to_bytes};
use axum::http::{Method, StatusCode};
use tower::{Service, ServiceExt};

/// A member in whatever state a test wants.
#[derive(Clone, Default)]
struct Member {
    alarms: Vec<AlarmType>,
    leaderless: bool,
    learner: bool,
    broken: bool,
}

impl Probe for Member {
    fn alarms(&self) -> Vec<AlarmType> {
        self.alarms.clone()
    }
    fn has_leader(&self) -> bool {
        !self.leaderless
    }
    fn is_learner(&self) -> bool {
        self.learner
    }
    async fn read(&self, serializable: bool) -> Result<(), String> {
        match (self.broken, self.leaderless && !serializable) {
            (true, _) => Err("etcdserver: corrupt cluster".to_owned()),
            (_, true) => Err("etcdserver: no leader".to_owned()),
            _ => Ok(()),
        }
    }
}

async fn send(member: &Member, method: Method, path: &str) -> (StatusCode, String) {
    let mut routes = routes(member.clone(), Metrics::new(false)).fallback(unknown_path);
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = routes.as_service().ready().await.unwrap().call(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(member: &Member, path: &str) -> (StatusCode, String) {
    send(member, Method::GET, path).await
}

const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

#[tokio::test]
async fn a_sound_member_is_healthy() {
    // Shows the bodies that probes of etcd expect, byte for byte.
    let member = Member::default();
    for (path, body) in [
        ("/health", r#"{"health":"true","reason":""}"#),
        ("/livez", "ok\n"),
        ("/livez?verbose", "[+]serializable_read ok\nok\n"),
        ("/readyz", "ok\n"),
        ("/readyz/non_learner?verbose", "[+]non_learner ok\nok\n"),
        (
            "/readyz?verbose&exclude=linearizable_read",
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]non_learner ok\nok\n",
        ),
        ("/version", r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#),
    ] {
        assert_eq!(get(&member, path).await, (StatusCode::OK, body.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn health_says_why_not() {
    // Shows etcd's reasons in their order, and what excluding and serializable leave out.
    let alarmed = Member { alarms: vec![AlarmType::Nospace], ..Member::default() };
    let (status, body) = get(&alarmed, "/health").await;
    assert_eq!(status, UNAVAILABLE);
    assert_eq!(body, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
    assert_eq!(get(&alarmed, "/health?exclude=NOSPACE").await.0, StatusCode::OK);
    assert_eq!(get(&alarmed, "/health?exclude=CORRUPT").await.0, UNAVAILABLE);

    let alone = Member { leaderless: true, ..Member::default() };
    assert!(get(&alone, "/health").await.1.contains("RAFT NO LEADER"));
    assert_eq!(get(&alone, "/health?serializable=true").await.0, StatusCode::OK);

    let broken = Member { broken: true, ..Member::default() };
    assert!(get(&broken, "/health").await.1.contains("RANGE ERROR:etcdserver: corrupt cluster"));
}

#[tokio::test]
async fn readiness_names_the_failed_check() {
    // Shows that each check fails for its own reason, and that liveness needs no leader.
    let failures = [
        (
            Member { alarms: vec![AlarmType::Corrupt], ..Member::default() },
            "[-]data_corruption failed: alarm activated: CORRUPT\n",
        ),
        (
            Member { leaderless: true, ..Member::default() },
            "[-]linearizable_read failed: etcdserver: no leader\n",
        ),
        (
            Member { learner: true, ..Member::default() },
            "[-]non_learner failed: not supported for learner\n",
        ),
    ];
    for (member, line) in failures {
        let (status, body) = get(&member, "/readyz").await;
        assert_eq!(status, UNAVAILABLE);
        assert!(body.contains(line), "{body}");
        assert_eq!(get(&member, "/livez").await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    // Shows 405 for anything but GET, HEAD too, and Go's 404 for paths that nobody serves.
    let member = Member::default();
    for path in ["/health", "/livez", "/readyz", "/version"] {
        let answer = send(&member, Method::POST, path).await;
        assert_eq!(answer, (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n".to_owned()));
        assert_eq!(send(&member, Method::HEAD, path).await.0, StatusCode::METHOD_NOT_ALLOWED);
    }
    for path in ["/nothing", "/livez/nothing", "/v2/keys"] {
        let answer = get(&member, path).await;
        assert_eq!(answer, (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn an_unknown_grpc_service_is_unimplemented() {
    // Shows that a gRPC client gets a gRPC status and not a web page.
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v3lockpb.Lock/Lock")
        .header("content-type", "application/grpc+proto")
        .body(Body::empty())
        .unwrap();
    let response = unknown_path(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "12");
    assert_eq!(response.headers()["grpc-message"], "unknown service v3lockpb.Lock");
}

/// A service that answers every call with one message of three bytes.
async fn three_bytes(request: Request) -> Response {
    to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let frames = [
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(bytes::Bytes::from_static(&[
            0, 0, 0, 0, 3, 1, 2, 3,
        ]))),
        Ok(http_body::Frame::trailers(trailers)),
    ];
    let body = http_body_util::StreamBody::new(futures::stream::iter(frames));
    Response::new(Body::new(body))
}

#[tokio::test]
async fn calls_are_counted_to_their_status() {
    // Shows the counters of one finished call, one abandoned call, and none for a made-up method.
    let metrics = Metrics::new(true);
    let layer = GrpcLayer::new(&metrics, std::time::Duration::from_secs(60));
    let mut routes = Router::new().fallback(three_bytes).layer(layer);
    let mut call = async |path: &str| {
        let body = Body::from(vec![0, 0, 0, 0, 2, 8, 8]);
        let request = Request::builder().uri(path).body(body).unwrap();
        routes.as_service().ready().await.unwrap().call(request).await.unwrap()
    };
    let finished = call("/etcdserverpb.KV/Put").await;
    http_body_util::BodyExt::collect(finished.into_body()).await.unwrap();
    drop(call("/etcdserverpb.KV/Put").await);
    drop(call("/made.Up/Name").await);

    let text = metrics.render().unwrap();
    let labels = r#"grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary""#;
    for line in [
        format!("grpc_server_started_total{{{labels}}} 2"),
        format!("grpc_server_handled_total{{grpc_code=\"OK\",{labels}}} 1"),
        format!("grpc_server_handled_total{{grpc_code=\"Canceled\",{labels}}} 1"),
        format!("grpc_server_msg_received_total{{{labels}}} 2"),
        format!("grpc_server_msg_sent_total{{{labels}}} 1"),
        "etcd_network_client_grpc_received_bytes_total 4".to_owned(),
        "etcd_network_client_grpc_sent_bytes_total 3".to_owned(),
        format!("grpc_server_handling_seconds_count{{{labels}}} 2"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
    }
    assert!(!text.contains("made.Up"));
}

#[test]
fn readings_become_families_of_their_kind() {
    // Shows gauges, counters and labels as Prometheus reads them, beside the process's own.
    struct Fixed;
    impl Source for Fixed {
        fn read(&self) -> Vec<Reading> {
            vec![
                Reading::gauge("etcd_server_has_leader", "h", 1.0),
                Reading::counter("etcd_x_total", "h", 2.0),
                Reading::gauge("etcd_server_id", "h", 1.0).labelled("server_id", "ab"),
            ]
        }
    }
    let metrics = Metrics::new(false);
    metrics.attach(Fixed);
    let text = metrics.render().unwrap();
    for line in [
        "# TYPE etcd_server_has_leader gauge",
        "etcd_server_has_leader 1",
        "# TYPE etcd_x_total counter",
        "etcd_server_id{server_id=\"ab\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
    }
    assert!(text.contains("process_resident_memory_bytes"));
}

#[tokio::test]
async fn members_are_told_as_etcd_does() {
    // Shows the body and the header of etcd 3.4.23, but for the ids, byte for byte.
    let named = api::etcdserverpb::Member {
        id: 3,
        name: "b".to_owned(),
        peer_urls: vec!["http://127.0.0.1:1".to_owned()],
        client_urls: vec!["http://127.0.0.1:2".to_owned()],
        is_learner: false,
    };
    let started_never = api::etcdserverpb::Member {
        id: 2,
        peer_urls: vec!["http://127.0.0.1:3".to_owned()],
        is_learner: true,
        ..Default::default()
    };
    let members = [named, started_never];
    let mut routes = peer_routes(0xab, move || members.to_vec());
    let mut send = async |method| {
        let request = Request::builder().method(method).uri("/members");
        let request = request.body(Body::empty()).unwrap();
        routes.as_service().ready().await.unwrap().call(request).await.unwrap()
    };
    let response = send(Method::GET).await;
    assert_eq!(response.headers()["x-etcd-cluster-id"], "ab");
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let expected = concat!(
        r#"[{"id":2,"peerURLs":["http://127.0.0.1:3"],"isLearner":true},"#,
        r#"{"id":3,"peerURLs":["http://127.0.0.1:1"],"name":"b","#,
        r#""clientURLs":["http://127.0.0.1:2"]}]"#,
        "\n",
    );
    assert_eq!(body, expected);
    assert_eq!(send(Method::POST).await.status(), StatusCode::METHOD_NOT_ALLOWED);
}
