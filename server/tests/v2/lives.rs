//! What outlives the process: the tree, its history, its deadlines.

use testkit::{Cluster, Place, Server, bounded, eventually, subject};

use crate::http::{Ask, Connection};
use crate::side::{FLAGS, port_of};
use crate::waiting::{get, put};

async fn fill(connection: &mut Connection) {
    for ask in [
        put("/a/b", "value=1"),
        put("/a/b", "value=2&prevValue=1"),
        put("/a/t", "value=3&ttl=3600"),
        put("/a/dir", "dir=true&ttl=3600"),
        put("/a/gone", "value=4"),
        Ask::new("DELETE", "/v2/keys/a/gone"),
        Ask::new("POST", "/v2/keys/a/queue").form("value=5"),
        put("/_h", "value=6"),
    ] {
        assert!(connection.ask(&ask).await.status.is_success(), "{ask:?}");
    }
}

/// Everything that can be seen, but for what is left of times.
async fn seen(port: u16) -> (u64, Vec<String>) {
    let mut connection = Connection::open(port).await;
    let all = connection.ask(&get("/?recursive=true&quorum=true")).await;
    let mut texts = vec![String::from_utf8(all.body.to_vec()).unwrap()];
    for from in 1..=8 {
        let target = format!("/?recursive=true&wait=true&waitIndex={from}");
        let event = bounded(connection.ask(&get(&target))).await;
        texts.push(String::from_utf8(event.body.to_vec()).unwrap());
    }
    let ttl = |text: &String| {
        text.split("\"ttl\":")
            .map(|it| it.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned())
            .collect::<String>()
    };
    (all.number("x-etcd-index"), texts.iter().map(ttl).collect())
}

/// Proves that nothing is lost by an orderly stop, nor by a kill at any moment after the answer:
/// nodes, indexes, deadlines, and the changes of the past.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_and_a_kill_keep_everything() {
    let mut server = Server::start(subject!(), FLAGS).await;
    let mut connection = Connection::open(server.client_port).await;
    fill(&mut connection).await;
    let before = seen(server.client_port).await;
    assert_eq!(before.0, 8);
    assert!(before.1[0].contains("\"expiration\""), "{before:?}");
    server.terminate();
    server.restart().await;
    assert_eq!(seen(server.client_port).await, before);
    server.kill();
    server.restart().await;
    assert_eq!(seen(server.client_port).await, before);
    let mut connection = Connection::open(server.client_port).await;
    let next = connection.ask(&put("/next", "value=1")).await;
    assert_eq!(next.number("x-etcd-index"), 9);
    server.kill();
    server.restart().await;
    assert_eq!(seen(server.client_port).await.0, 9);
}

/// Proves that every member has the same tree and history, and so has one that was away meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_have_the_same() {
    let places = (0..3).map(|_| Place::loopback()).collect();
    let mut cluster = Cluster::start_with(subject!(), places, FLAGS).await;
    let leader = cluster.leader().await;
    let away = cluster.others(leader)[0];
    cluster.member_mut(away).kill();
    let other = cluster.others(away)[0];
    let mut connection = Connection::open(port_of(&cluster.member(other).endpoint())).await;
    fill(&mut connection).await;
    cluster.member_mut(away).restart().await;
    let mut all = Vec::new();
    for endpoint in cluster.endpoints() {
        all.push(seen(port_of(&endpoint)).await);
    }
    assert!(all.iter().all(|seen| *seen == all[0]), "{all:#?}");
    cluster.converged().await;
}

/// Proves that a key's time goes on when the leader is gone: the next one ends it, and whoever
/// waits is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leader_ends_a_keys_time() {
    let places = (0..3).map(|_| Place::loopback()).collect();
    let mut cluster = Cluster::start_with(subject!(), places, FLAGS).await;
    let leader = cluster.leader().await;
    let other = cluster.others(leader)[0];
    let port = port_of(&cluster.member(other).endpoint());
    let mut connection = Connection::open(port).await;
    let made = connection.ask(&put("/short", "value=1&ttl=4")).await;
    assert_eq!(made.status, 201);
    let mut watcher = Connection::open(port).await;
    let next = made.number("x-etcd-index") + 1;
    let told = watcher.begin(&get(&format!("/short?wait=true&waitIndex={next}"))).await;
    cluster.member_mut(leader).kill();
    let told = bounded(crate::http::whole(told)).await.json();
    assert_eq!(told["action"], "expire");
    assert_eq!(told["prevNode"]["value"], "1");
    eventually("both have applied it", 60, async || {
        for other in cluster.others(leader) {
            let mut connection = Connection::open(port_of(&cluster.member(other).endpoint())).await;
            let status = connection.ask(&get("/short")).await.status;
            if status != 404 {
                return Err(format!("m{} says {status}", other + 1));
            }
        }
        Ok(())
    })
    .await;
}
