//! Discovery on a cluster whose members go away, and on one that asks who is there.

use std::time::Duration;

use api::etcdserverpb::{AuthenticateRequest, RangeRequest};
use testkit::{Clients, Cluster, Server, bounded, enable_auth, eventually, subject, with_token};

use crate::dig::Dns;
use crate::tool::{SOON_S, Tool, get};

const INSTANCE: &str = "/services/web/1";
const NAME: &str = "web.service.cluster.local";

fn sidecar(endpoints: &str, more: &[&str]) -> Tool {
    let args = ["register", endpoints, "--service=web", "--instance=1", "--address=10.0.0.7"];
    Tool::berth(&[&args[..], &["--port=80", "--ttl=5s"], more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_flaps_when_the_leader_is_killed() {
    // Proves that a registration outlives the leader untouched: no key of it is deleted or written
    // again, DNS answers all the time, and a change made under the next leader is answered.
    let mut cluster = Cluster::start(subject!(), 3).await;
    let endpoints = format!("--endpoints={}", cluster.endpoints().join(","));
    let mut first = sidecar(&endpoints, &["--check=exec:true"]);
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
    // when the server has forgotten the old one, and that a wrong password is told at once.
    let mut server = Server::start(subject!(), &[]).await;
    enable_auth(&server.clients()).await;
    let endpoints = format!("--endpoints={}", server.endpoint());
    let user = "--user=root:secret";
    let mut first = sidecar(&endpoints, &[user]);
    let dns = Dns::follow(&endpoints, &[user]).await;
    dns.until(&[NAME], &["A 10.0.0.7"]).await;
    // The tokens go with the process, and the lease with the time that nobody renews it in.
    server.kill();
    server.restart().await;
    tokio::time::sleep(Duration::from_secs(7)).await;
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
