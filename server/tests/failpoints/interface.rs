//! What the HTTP interface answers.

use berth::failpoints::NAMES;
use testkit::{Cluster, subject};

use crate::acknowledged::Acknowledged;
use crate::crash::{one_member, wait_crash};
use crate::gofail::{ask, set, set_at_start};
use crate::load::{Load, Writes};

/// Proves that lists, terms, counts and refusals are answered with gofail's status codes and bodies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_are_listed_set_read_and_deleted() {
    let mut cluster = one_member().await;
    cluster.member_mut(0).kill();
    set_at_start(cluster.member_mut(0), "raftAfterSave=off;etcdAlone=panic");
    cluster.member_mut(0).restart().await;
    let member = cluster.member(0);
    let list: String = NAMES
        .iter()
        .map(|name| format!("{name}={}\n", if *name == "raftAfterSave" { "off" } else { "" }))
        .collect();
    assert_eq!(ask(member, "GET", "/", "").await, (200, list));
    assert!(member.log().contains("etcdAlone"), "what is not here is told in the log");

    let get = async |path| ask(member, "GET", path, "").await;
    assert_eq!(get("/beforeCommit").await.0, 404);
    set(member, "beforeCommit", "1*sleep(\"1ms\")->off").await;
    assert_eq!(get("/beforeCommit").await, (200, "1*sleep(\"1ms\")->off\n".to_owned()));
    let delete = async |path| ask(member, "DELETE", path, "").await.0;
    assert_eq!(delete("/beforeCommit").await, 204);
    assert_eq!(delete("/beforeCommit").await, 400);
    assert_eq!(delete("/none").await, 400);
    assert_eq!(get("/beforeCommit").await.0, 404);
    assert_eq!(get("/none").await.0, 404);
    assert_eq!(get("/none/count").await.0, 404);
    assert_eq!(get("/beforeCommit/count").await.0, 500);

    let put = async |path, body| ask(member, "PUT", path, body).await.0;
    assert_eq!(put("/none", "panic").await, 400);
    assert_eq!(put("/beforeCommit", "panik").await, 400);
    assert_eq!(put("/failpoints", "beforeCommit=off;afterCommit=print").await, 204);
    assert_eq!(get("/afterCommit").await, (200, "print\n".to_owned()));
    assert_eq!(put("/failpoints", "beforeCommit").await, 400);
    assert_eq!(ask(member, "POST", "/", "").await.0, 405);
}

/// Proves that terms are carried out and counted where the point is passed, and no more when it is
/// deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_does_what_it_is_set_to_and_counts_it() {
    let cluster = one_member().await;
    let member = cluster.member(0);
    let mut acknowledged = Acknowledged::default();
    set(member, "beforeWritebackBuf", "2*sleep(1)->1*return(7)->print").await;
    for _ in 0..5 {
        acknowledged.put(&mut member.clients()).await.expect("a delay refuses nothing");
    }
    let (status, count) = ask(member, "GET", "/beforeWritebackBuf/count", "").await;
    assert_eq!(status, 200);
    assert!(count.parse::<u32>().is_ok_and(|count| count >= 5), "{count}");
    let printed = "failpoint print: beforeWritebackBuf";
    assert!(member.log().contains(printed));
    ask(member, "DELETE", "/beforeWritebackBuf", "").await;
    let before = member.log().matches(printed).count();
    acknowledged.put(&mut member.clients()).await.expect("nothing is in its way");
    assert_eq!(member.log().matches(printed).count(), before);
}

/// Proves that whoever sets a panic at a point that is passed all the time is answered first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_comes_before_the_crash() {
    let mut cluster: Cluster = one_member().await;
    for _ in 0..5 {
        let mut clients = cluster.clients(0);
        let writing = tokio::spawn(async move {
            let mut acknowledged = Acknowledged::default();
            while acknowledged.put(&mut clients).await.is_ok() {}
        });
        set(cluster.member(0), "raftBeforeSave", "panic").await;
        let mut load = Writes;
        let mut acknowledged = Acknowledged::default();
        let alive = cluster.member_mut(0);
        while alive.is_running() {
            load.pass(&alive.clients(), &mut acknowledged).await;
        }
        wait_crash(alive, "raftBeforeSave").await;
        writing.await.expect("the writer ends with the server");
        alive.restart().await;
    }
}

/// Proves that a start with a term that is none is refused: the test with it would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_term_in_the_environment_ends_the_start() {
    let mut cluster = Cluster::prepare(subject!(), vec![testkit::Place::loopback()], &[]).await;
    let member = cluster.member_mut(0);
    set_at_start(member, "raftBeforeSave=panik");
    member.launch();
    assert_eq!(member.wait_end().await.code(), Some(1));
    assert!(member.log().contains("raftBeforeSave=panik"), "{}", member.log());
}
