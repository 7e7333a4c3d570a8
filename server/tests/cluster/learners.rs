//! What berth does with learners beyond etcd, behind flags of its own.

use api::etcdserverpb::{PutRequest, RangeRequest};
use testkit::{Cluster, Kind, Place, bounded, eventually, subject};
use tonic::{Code, Status};

use crate::membership::{CHANGE_S_MAX, add, members};
use crate::workload::Load;

/// Proves that a learner refuses linearizable reads as etcd does, and with the flag serves them:
/// each shows what was acknowledged just before by another member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_serves_linearizable_reads_only_with_the_flag() {
    let subject = subject!();
    let is_berth = subject.kind == Kind::Berth;
    let mut cluster = Cluster::start(subject, 3).await;
    let leader = cluster.leader().await;
    let learner = join(&mut cluster, leader).await;
    write(&cluster, leader, "0").await;
    let refusal = read(&cluster, learner).await.expect_err("a learner answered");
    // The code is another one since etcd 3.5.
    assert!(matches!(refusal.code(), Code::FailedPrecondition | Code::Unavailable), "{refusal}");
    assert_eq!(refusal.message(), "etcdserver: rpc not supported for learner");
    if !is_berth {
        return;
    }
    cluster.member_mut(learner).terminate();
    cluster.member_mut(learner).flags.push("--serve-learner-reads".to_owned());
    cluster.member_mut(learner).launch();
    eventually("the learner serves", CHANGE_S_MAX, async || {
        read(&cluster, learner).await.map_err(|refusal| refusal.to_string())
    })
    .await;
    for round in 1..=100 {
        let value = round.to_string();
        write(&cluster, leader, &value).await;
        assert_eq!(read(&cluster, learner).await.unwrap(), value, "an old value was read");
    }
}

/// Proves that several learners join at once and become voters by themselves when they have caught
/// up, under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_learners_join_at_once_and_promote_themselves() {
    let subject = subject!();
    if subject.kind != Kind::Berth {
        return;
    }
    let flags = ["--max-learners=2", "--auto-promote-learners"];
    let places = (0..3).map(|_| Place::loopback()).collect();
    let mut cluster = Cluster::start_with(subject, places, &flags).await;
    let load = Load::start(&cluster);
    load.progress(50).await;
    let leader = cluster.leader().await;
    let new: Vec<Place> = (0..2).map(|_| Place::loopback()).collect();
    for place in &new {
        add(&cluster, leader, &place.advertised_peer_url(), true).await;
    }
    assert_eq!(learners(&cluster, leader).await, 2);
    for place in new {
        cluster.join(place, &flags);
    }
    // Who joins has to name all five.
    let all = cluster.member(4).birth.initial_cluster.clone();
    for at in [3, 4] {
        cluster.member_mut(at).birth.initial_cluster.clone_from(&all);
        cluster.member_mut(at).launch();
    }
    eventually("both have a vote", CHANGE_S_MAX, async || match learners(&cluster, leader).await {
        0 => Ok(()),
        left => Err(format!("{left} learners")),
    })
    .await;
    assert_eq!(members(&cluster, leader).await.len(), 5);
    // Of five members two may be away.
    let away: Vec<usize> = cluster.others(leader).into_iter().take(2).collect();
    for at in &away {
        cluster.member_mut(*at).kill();
    }
    load.progress(50).await;
    for at in away {
        cluster.member_mut(at).restart().await;
    }
    load.finish(&mut cluster).await;
}

/// A learner that runs.
async fn join(cluster: &mut Cluster, leader: usize) -> usize {
    let place = Place::loopback();
    add(cluster, leader, &place.advertised_peer_url(), true).await;
    let at = cluster.join(place, &[]);
    cluster.member_mut(at).launch();
    let status = async || cluster.member(at).status().await;
    eventually("the learner is there", CHANGE_S_MAX, status).await;
    at
}

async fn learners(cluster: &Cluster, at: usize) -> usize {
    members(cluster, at).await.iter().filter(|member| member.is_learner).count()
}

async fn write(cluster: &Cluster, at: usize, value: &str) {
    let put =
        PutRequest { key: "k".into(), value: value.to_owned().into(), ..PutRequest::default() };
    bounded(cluster.clients(at).kv.put(put)).await.expect("a put succeeds");
}

async fn read(cluster: &Cluster, at: usize) -> Result<String, Status> {
    let range = RangeRequest { key: "k".into(), ..RangeRequest::default() };
    let answer = bounded(cluster.clients(at).kv.range(range)).await?.into_inner();
    let value = answer.kvs.first().map(|kv| kv.value.to_vec()).unwrap_or_default();
    Ok(String::from_utf8(value).expect("it was written as text"))
}
