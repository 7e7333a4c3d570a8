//! Discovery on a cluster whose members go away, and on one that asks who is there.

use std::time::Duration;

use api::etcdserverpb::{AuthenticateRequest, RangeRequest};
use testkit::{Clients, Cluster, Server, bounded, enable_auth, eventually, subject, with_token};

use crate::dig::{Asked, Dns};
use crate::tool::{SOON_S, Tool, berth, get, put};

const INSTANCE: &str = "/services/web/1";
const NAME: &str = "web.service.cluster.local";

fn sidecar(endpoints: &str, more: &[&str]) -> Tool {
    let args = ["register", endpoints, "--service=web", "--instance=1", "--address=10.0.0.7"];
    Tool::berth(&[&args[..], &["--port=80", "--ttl=10s"], more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_flaps_when_the_leader_is_killed() {
    // Proves that a registration outlives the leader untouched: no key of it is deleted or written
    // again, DNS answers all the time, and a change made under the next leader is answered.
    let mut cluster = Cluster::start(subject!(), 3).await;
    let endpoints = format!("--endpoints={}", cluster.endpoints().join(","));
    let mut first = sidecar(&endpoints, &["--check=exec:true", "--timeout=30s"]);
    let dns = Dns::follow(&endpoints, &[]).await;
    dns.until(&[NAME], &["A 10.0.0.7"]).await;
    let before = get(&cluster.clients(0), INSTANCE).await.expect("it is registered");
    let leader = cluster.leader().await;
    cluster.member_mut(leader).kill();
    for _ in 0..40 {
        assert_eq!(dns.answers(&[NAME]).await, ["A 10.0.0.7"], "{}", first.log());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let other = cluster.others(leader)[0];
    assert_eq!(get(&cluster.clients(other), INSTANCE).await, Some(before), "{}", first.log());
    first.terminate().await;
    dns.until(&[NAME], &[]).await;
}

/// The instance's key, by a token of its own.
async fn registered(clients: &Clients) -> Result<(), String> {
    let (name, password) = ("root".to_owned(), "secret".to_owned());
    let mut clients = clients.clone();
    let answer = bounded(clients.auth.authenticate(AuthenticateRequest { name, password })).await;
    let token = answer.map_err(|status| status.to_string())?.into_inner().token;
    let request = RangeRequest { key: INSTANCE.into(), ..RangeRequest::default() };
    let answer = bounded(clients.kv.range(with_token(request, Some(&token)))).await;
    match answer.map_err(|status| status.to_string())?.into_inner().count {
        1 => Ok(()),
        count => Err(format!("{count} keys")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_register_and_follow_by_password() {
    // Proves that discovery works where users are asked who they are, that it takes a new token
    // when the server has forgotten the old one, that who loses the right to write while registered
    // waits for it, and that a wrong password is told at once.
    let mut server = Server::start(subject!(), &[]).await;
    enable_auth(&server.clients()).await;
    let endpoints = format!("--endpoints={}", server.endpoint());
    let user = "--user=root:secret";
    let root = async |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let done = berth(&[&["ctl", &endpoints, user], &words[..]].concat()).await;
        assert_eq!(done.code, Some(0), "{words:?}: {done:?}");
        done.stdout
    };
    root("user add side:pw").await;
    root("user grant-role side root").await;
    let mut first = sidecar(&endpoints, &["--user=side:pw"]);
    let dns = Dns::follow(&endpoints, &[user]).await;
    dns.until(&[NAME], &["A 10.0.0.7"]).await;
    // The tokens go with the process.
    root("user revoke-role side root").await;
    server.kill();
    server.restart().await;
    let leases = root("lease list").await;
    let lease = leases.lines().last().expect("a lease");
    root(&format!("lease revoke {lease}")).await;
    let refused = async || {
        let log = first.log();
        if log.contains("the store refuses the registration") { Ok(()) } else { Err(log) }
    };
    eventually("refused", SOON_S, refused).await;
    root("user grant-role side root").await;
    let clients = server.clients();
    let still = async || registered(&clients).await.map_err(|why| why + &first.log());
    eventually("registered", SOON_S, still).await;
    dns.until(&[NAME], &["A 10.0.0.7"]).await;
    first.terminate().await;
    dns.until(&[NAME], &[]).await;

    let mut stranger = sidecar(&endpoints, &["--user=root:wrong"]);
    assert_eq!(stranger.ended().await.code(), Some(1));
    assert!(stranger.log().contains("invalid user ID or password"), "{}", stranger.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_some_keys_answers_for_those() {
    // Proves that DNS with a user that may read the registered services alone answers for these, says
    // once what it may not read, and that those names do not exist for it; and that who may read
    // nothing answers nothing.
    let server = Server::start(subject!(), &[]).await;
    let clients = server.clients();
    put(&clients, INSTANCE, r#"{"address":"10.0.0.7","port":80}"#).await;
    put(&clients, "/skydns/local/cluster/note", r#"{"host":"10.0.0.8"}"#).await;
    enable_auth(&clients).await;
    let endpoints = format!("--endpoints={}", server.endpoint());
    for words in [
        "role add reader",
        "role grant-permission reader read --prefix=true /services/",
        "role grant-permission reader read --prefix=true /health/",
        "user add some:pw",
        "user add none:pw",
        "user grant-role some reader",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let done = berth(&[&["ctl", &endpoints, "--user=root:secret"], &words[..]].concat()).await;
        assert_eq!(done.code, Some(0), "{words:?}: {done:?}");
    }
    let dns = Dns::follow(&endpoints, &["--user=some:pw"]).await;
    dns.until(&[NAME], &["A 10.0.0.7"]).await;
    assert_eq!(dns.code("note.cluster.local").await, "NXDOMAIN");
    assert_eq!(dns.code("web.shop.svc.cluster.local").await, "NXDOMAIN");
    let log = dns.tool.log();
    for part in ["cluster_services", "endpoint_slices", "skydns"] {
        let told = |line: &&str| line.contains("may not be read") && line.contains(part);
        assert_eq!(log.lines().filter(told).count(), 1, "{part}: {log}");
    }
    let stranger = Tool::berth(&["dns", &endpoints, "--user=none:pw", "--listen=127.0.0.1:0"]);
    let refused = async || {
        let log = stranger.log();
        if log.matches("may not be read").count() >= 5 { Ok(()) } else { Err(log) }
    };
    eventually("all is refused", SOON_S, refused).await;
    let bound = stranger.log();
    let port = bound.split("127.0.0.1:").nth(1).expect("an address");
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let asked = Asked { port: port.parse().expect("a port") };
    assert_eq!(asked.code(NAME).await, "SERVFAIL");
}
