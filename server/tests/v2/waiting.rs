//! Waiting for changes: streams, what is told to whom, and what ends it.

use std::time::Duration;

use serde_json::Value;
use testkit::{Server, bounded, subject};
use tokio::time::timeout;

use crate::http::{Answer, Ask, Connection, piece, whole};
use crate::side::FLAGS;

/// What is not there by then is taken for not coming.
const SILENCE: Duration = Duration::from_millis(300);

/// More changes than the history keeps.
const MANY: usize = 1_100;

pub(crate) fn put(key: &str, form: &str) -> Ask {
    Ask::new("PUT", format!("/v2/keys{key}")).form(form)
}

pub(crate) fn get(target: &str) -> Ask {
    Ask::new("GET", format!("/v2/keys{target}"))
}

async fn good(connection: &mut Connection, ask: &Ask) -> Answer {
    let answer = connection.ask(ask).await;
    assert!(answer.status.is_success(), "{ask:?}: {answer:?}");
    answer
}

fn shown(event: &Value) -> String {
    format!("{} {}", event["action"].as_str().unwrap(), event["node"]["key"].as_str().unwrap())
}

/// Proves that a stream tells everything from its index on, past and coming, each change once and
/// in order, hidden ones and refreshes left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_tells_each_change_once() {
    let server = Server::start(subject!(), FLAGS).await;
    let mut writer = Connection::open(server.client_port).await;
    let first = good(&mut writer, &put("/d/a", "value=1")).await.number("x-etcd-index");
    good(&mut writer, &put("/other", "value=1")).await;
    let mut watcher = Connection::open(server.client_port).await;
    let target = format!("/d?wait=true&stream=true&recursive=true&waitIndex={first}");
    let mut stream = watcher.begin(&get(&target)).await;
    good(&mut writer, &put("/d/b", "value=2")).await;
    good(&mut writer, &put("/d/_hidden", "value=3")).await;
    good(&mut writer, &put("/d/b", "ttl=100&refresh=true&prevExist=true")).await;
    good(&mut writer, &Ask::new("DELETE", "/v2/keys/d?recursive=true")).await;
    let mut told = Vec::new();
    while told.len() < 3 {
        let bytes = bounded(piece(&mut stream)).await.expect("the stream goes on");
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        told.extend(lines.map(|line| shown(&serde_json::from_slice(line).unwrap())));
    }
    assert_eq!(told, ["set /d/a", "set /d/b", "delete /d"]);
    assert!(timeout(SILENCE, piece(&mut stream)).await.is_err(), "nothing else is told");
}

/// Proves that headers come at once, that whoever watches a file is told when its directory goes,
/// and that the connection can be used again afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_goes_is_told_below() {
    let server = Server::start(subject!(), FLAGS).await;
    let mut writer = Connection::open(server.client_port).await;
    good(&mut writer, &put("/d/a/b", "value=1")).await;
    let mut watcher = Connection::open(server.client_port).await;
    let begun = watcher.begin(&get("/d/a/b?wait=true")).await;
    assert_eq!(begun.headers()["x-etcd-index"], "1");
    good(&mut writer, &Ask::new("DELETE", "/v2/keys/d?recursive=true")).await;
    assert_eq!(shown(&bounded(whole(begun)).await.json()), "delete /d");
    assert_eq!(watcher.ask_again(&get("/")).await.status, 200);
}

/// Proves that many who wait for many keys are each told of theirs and of nothing else, once more
/// changes than the history keeps have been made elsewhere too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_told_of_their_own() {
    let server = Server::start(subject!(), FLAGS).await;
    let mut writer = Connection::open(server.client_port).await;
    let mut waiting = Vec::new();
    for number in 0..50 {
        let mut watcher = Connection::open(server.client_port).await;
        let begun = watcher.begin(&get(&format!("/k/{number}?wait=true"))).await;
        waiting.push((watcher, begun));
    }
    for _ in 0..MANY {
        good(&mut writer, &put("/elsewhere", "value=1")).await;
    }
    for number in (0..50).rev() {
        good(&mut writer, &put(&format!("/k/{number}"), "value=1")).await;
    }
    for (number, (_watcher, begun)) in waiting.into_iter().enumerate() {
        assert_eq!(shown(&bounded(whole(begun)).await.json()), format!("set /k/{number}"));
    }
}

/// Proves that a server which stops ends those who wait at once, with an answer that is whole and
/// empty: they ask another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_those_who_wait() {
    let mut server = Server::start(subject!(), FLAGS).await;
    let mut watcher = Connection::open(server.client_port).await;
    let begun = watcher.begin(&get("/k?wait=true")).await;
    let (status, answer) =
        tokio::join!(tokio::task::spawn_blocking(move || server.terminate()), whole(begun));
    assert!(status.unwrap().success());
    assert_eq!(answer.body, "");
}
