//! What is refused before anything is done: the API when it is off, strangers, what is too large,
//! what is wrong; and the paths beside the keys.

use api::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthUserAddRequest, AuthUserGrantRoleRequest,
    RangeRequest,
};
use testkit::{Program, Server, bounded, eventually, subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::canonical::difference;
use crate::http::{Ask, Connection, whole};
use crate::side::{FLAGS, Side, align};
use crate::waiting::{get, put};

/// More than a request may have, and less than is not even read.
const FORM_BYTES: usize = 1_600_000;

/// Proves that the API is off unless it is asked for, with etcd's answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_on_when_it_is_asked_for() {
    let server = Server::start(subject!(), &[]).await;
    let mut connection = Connection::open(server.client_port).await;
    for path in ["/v2/keys/", "/v2/members", "/v2/stats/self", "/v2/machines"] {
        let answer = connection.ask_again(&Ask::new("GET", path)).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (404, &b"404 page not found\n"[..]));
    }
    let off = Server::start(subject!(), &["--enable-v2=false"]).await;
    let mut connection = Connection::open(off.client_port).await;
    assert_eq!(connection.ask(&get("/")).await.status, 404);
}

/// Proves that scripts which look for a header find it as etcd writes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_written_as_etcds() {
    let server = Server::start(subject!(), FLAGS).await;
    let mut stream = TcpStream::connect(("127.0.0.1", server.client_port)).await.unwrap();
    let request = "GET /v2/keys/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    bounded(stream.read_to_string(&mut answer)).await.unwrap();
    for header in ["X-Etcd-Index: 0", "X-Raft-Term: ", "X-Etcd-Cluster-Id: ", "Content-Type: "] {
        assert!(answer.contains(&format!("\r\n{header}")), "{header} in {answer}");
    }
}

/// Proves that with auth on nobody is told or may change anything, not even who waited before; and
/// that the keys of the v3 API never knew of any of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_closes_it() {
    let server = Server::start(subject!(), &["--enable-v2", "--bcrypt-cost=4"]).await;
    let mut connection = Connection::open(server.client_port).await;
    assert_eq!(connection.ask(&put("/k", "value=secret")).await.status, 201);
    let range = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
    let mut clients = server.clients();
    let all = clients.kv.range(range).await.unwrap().into_inner();
    assert_eq!((all.count, all.header.unwrap().revision), (0, 1));
    let mut watcher = Connection::open(server.client_port).await;
    let waiting = watcher.begin(&get("/k?wait=true")).await;

    let (name, password) = ("root".to_owned(), "r".to_owned());
    let root = AuthUserAddRequest { name: name.clone(), password, ..Default::default() };
    clients.auth.user_add(root).await.unwrap();
    clients.auth.role_add(AuthRoleAddRequest { name: name.clone() }).await.unwrap();
    let grant = AuthUserGrantRoleRequest { user: name.clone(), role: name };
    clients.auth.user_grant_role(grant).await.unwrap();
    clients.auth.auth_enable(AuthEnableRequest {}).await.unwrap();

    assert_eq!(bounded(whole(waiting)).await.body, "", "nobody waits on");
    for ask in [
        get("/k"),
        get("/k?quorum=true"),
        get("/?recursive=true&wait=true&waitIndex=1"),
        put("/k", "value=x"),
        Ask::new("POST", "/v2/keys/q").form("value=x"),
        Ask::new("DELETE", "/v2/keys/k"),
        Ask::new("GET", "/v2/members"),
        Ask::new("GET", "/v2/members/leader"),
        Ask::new("DELETE", "/v2/members/1"),
        Ask::new("GET", "/v2/machines"),
        Ask::new("GET", "/v2/stats/self"),
        Ask::new("GET", "/v2/stats/leader"),
        Ask::new("GET", "/v2/stats/store"),
    ] {
        let answer = connection.ask_again(&ask).await;
        assert_eq!(answer.status, 401, "{ask:?}");
        assert_eq!(answer.json()["errorCode"], 110, "{ask:?}");
        assert_eq!(answer.number("x-etcd-index"), 0);
    }
}

/// Proves that what is wrong is answered as by etcd, on one connection that stays usable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_leaves_the_connection_usable() {
    let mut etcd = Side::start(Program::etcd(), 1).await;
    let mut berth = Side::start(subject!(), 1).await;
    align(&mut etcd, &mut berth).await;
    let long = "x".repeat(3000);
    let asks = [
        Ask::new("PATCH", "/v2/keys/a"),
        put("/a", "value=%z"),
        put("/a?ttl=1s", ""),
        get("/a?waitIndex=x&wait=true"),
        get("/a?prevIndex=%31x"),
        put("/a?wait=true", ""),
        Ask::new("POST", "/v2/keys/?prevValue="),
        put("/", "value=x"),
        Ask::new("DELETE", "/v2/keys/?recursive=true"),
        Ask { body: Some(("multipart/form-data; boundary=x", "--x--".into())), ..put("/m", "") },
        Ask { body: Some(("a b/c", "value=x".into())), ..put("/m", "") },
        put(&format!("/{long}"), "value=x"),
        get(&format!("/{long}/below")),
        Ask::new("POST", "/v2/members").form("x"),
        Ask::new("POST", "/v2/stats/store"),
        Ask::new("PUT", "/v2/members"),
        Ask::new("DELETE", "/v2/members/xyz"),
        Ask::new("DELETE", "/v2/members/77"),
        Ask::new("GET", "/v2/members/77"),
        Ask::new("PUT", "/v2/machines"),
    ];
    for ask in asks {
        let (expected, actual) = (etcd.ask(0, &ask).await, berth.ask_same(0, &ask).await);
        assert_eq!(difference(&ask, &expected, &actual), None, "{ask:?}");
    }
}

/// Proves that a value up to the limit for requests is taken and a larger one refused by a word
/// about it, that a body which does not end is cut, and that a key may not go too deep.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_are_bounded() {
    let server = Server::start(subject!(), FLAGS).await;
    let mut connection = Connection::open(server.client_port).await;
    let value = |len| format!("value={}", "x".repeat(len));
    let largest = connection.ask(&put("/large", &value(1_500_000))).await;
    assert_eq!(largest.status, 201);
    let refused = connection.ask_again(&put("/large", &value(FORM_BYTES))).await;
    assert_eq!((refused.status.as_u16(), refused.json()["errorCode"].as_u64()), (413, Some(210)));
    assert_eq!(refused.json()["cause"], "etcdserver: request is too large");
    let mut other = Connection::open(server.client_port).await;
    let cut = other.status_or_cut(&put("/l", &value(8 << 20))).await;
    assert!(matches!(cut, None | Some(413)), "{cut:?}");
    assert_eq!(connection.ask_again(&get("/l")).await.status, 404);
    let deep = connection.ask_again(&put(&"/d".repeat(129), "value=x")).await;
    assert_eq!((deep.status.as_u16(), deep.json()["errorCode"].as_u64()), (400, Some(209)));
    assert_eq!(connection.ask_again(&get("/d")).await.status, 404, "nothing of it was made");
}

/// Proves that the quota counts nodes of the v2 API, refuses what grows with a word about it, and
/// that there is room again when they are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_quota_counts() {
    let flags = ["--enable-v2", "--quota-backend-bytes=300000", "--auto-disarm-nospace"];
    let server = Server::start(subject!(), &flags).await;
    let mut connection = Connection::open(server.client_port).await;
    let ask = put("/dir/a", &format!("value={}", "x".repeat(200_000)));
    assert_eq!(connection.ask(&ask).await.status, 201);
    let more = put("/dir/b", &format!("value={}", "x".repeat(200_000)));
    let refused = connection.ask_again(&more).await;
    assert_eq!((refused.status.as_u16(), refused.json()["errorCode"].as_u64()), (507, Some(300)));
    let gone = connection.ask_again(&Ask::new("DELETE", "/v2/keys/dir?recursive=true")).await;
    assert_eq!(gone.status, 200);
    eventually("there is room again", 60, async || {
        match connection.ask(&more).await.status.as_u16() {
            201 => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
}

/// Proves that members are told, added, moved and removed here as by the v3 API.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_told_and_changed() {
    // One more that does not run is not too many here.
    let flags = ["--enable-v2", "--strict-reconfig-check=false"];
    let server = Server::start(subject!(), &flags).await;
    let mut connection = Connection::open(server.client_port).await;
    let members = connection.ask(&Ask::new("GET", "/v2/members")).await.json();
    let own = &members["members"][0];
    assert_eq!(
        (&own["name"], &own["clientURLs"][0]),
        (&"default".into(), &server.endpoint().into())
    );
    let leader = connection.ask(&Ask::new("GET", "/v2/members/leader")).await.json();
    assert_eq!(leader, *own);
    let json = |body: &str| Some(("application/json", body.to_owned()));
    let add = Ask {
        body: json(r#"{"peerURLs":["http://127.0.0.1:1"]}"#),
        ..Ask::new("POST", "/v2/members")
    };
    let added = connection.ask(&add).await;
    assert_eq!(added.status, 201);
    let path = format!("/v2/members/{}", added.json()["id"].as_str().unwrap());
    assert_eq!(connection.ask(&add).await.status, 409);
    let moved =
        Ask { body: json(r#"{"peerURLs":["http://127.0.0.1:2"]}"#), ..Ask::new("PUT", &path) };
    assert_eq!(connection.ask(&moved).await.status, 204);
    let bad = Ask { body: json(r#"{"peerURLs":["nowhere"]}"#), ..Ask::new("PUT", &path) };
    assert_eq!(connection.ask(&bad).await.status, 400);
    let members = connection.ask(&Ask::new("GET", "/v2/members")).await.json();
    let urls: Vec<_> =
        members["members"].as_array().unwrap().iter().map(|it| &it["peerURLs"][0]).collect();
    assert!(urls.contains(&&"http://127.0.0.1:2".into()), "{urls:?}");
    assert_eq!(connection.ask(&Ask::new("DELETE", &path)).await.status, 204);
    assert_eq!(connection.ask(&Ask::new("DELETE", &path)).await.status, 404);
}

/// Proves that what is counted is what was done, and which fields of etcd's are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_count_what_was_done() {
    let server = Server::start(subject!(), FLAGS).await;
    let mut connection = Connection::open(server.client_port).await;
    for ask in [
        put("/k", "value=1"),
        put("/k", "value=2&prevValue=1"),
        put("/k", "value=2&prevValue=1"),
        put("/k", "prevExist=false"),
        get("/k"),
        get("/none"),
        Ask::new("DELETE", "/v2/keys/k"),
    ] {
        connection.ask(&ask).await;
    }
    let stats = connection.ask(&Ask::new("GET", "/v2/stats/store")).await.json();
    for (name, count) in [
        ("setsSuccess", 1),
        ("compareAndSwapSuccess", 1),
        ("compareAndSwapFail", 1),
        ("createFail", 1),
        ("getsSuccess", 1),
        ("getsFail", 1),
        ("deleteSuccess", 1),
        ("expireCount", 0),
        ("watchers", 0),
    ] {
        assert_eq!(stats[name], count, "{name} of {stats}");
    }
    let own = connection.ask(&Ask::new("GET", "/v2/stats/self")).await.json();
    assert_eq!((&own["name"], &own["state"]), (&"default".into(), &"StateLeader".into()));
    assert_eq!(own["leaderInfo"]["leader"], own["id"]);
    let leader = connection.ask(&Ask::new("GET", "/v2/stats/leader")).await.json();
    assert_eq!(leader["leader"], own["id"]);
}
