//! Clusters form.

use api::etcdserverpb::{MemberListRequest, PutRequest, RangeRequest};
use testkit::{Cluster, bounded, subject};

use crate::workload::Load;

/// Proves that three members form one cluster, and that each serves what was written through any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_form_and_each_of_them_serves() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    for at in 0..cluster.len() {
        let put = PutRequest { key: format!("k{at}").into(), ..Default::default() };
        bounded(cluster.clients(at).kv.put(put)).await.expect("any member takes a write");
        for reader in 0..cluster.len() {
            let range = RangeRequest { key: format!("k{at}").into(), ..Default::default() };
            let answer = bounded(cluster.clients(reader).kv.range(range)).await;
            let answer = answer.expect("any member serves a read").into_inner();
            assert_eq!(answer.count, 1, "m{} misses what m{} took", reader + 1, at + 1);
        }
    }
    all_know_the_same_members(&mut cluster).await;
    cluster.converged().await;
}

/// Proves that five members form, go on without two of them, and that both catch up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_members_form_and_two_of_them_may_be_away() {
    let mut cluster = Cluster::start(subject!(), 5).await;
    all_know_the_same_members(&mut cluster).await;
    let load = Load::start(&cluster);
    let leader = cluster.leader().await;
    let followers = cluster.others(leader);
    cluster.member_mut(followers[0]).terminate();
    cluster.member(followers[1]).suspend();
    load.linger(10).await;
    load.progress(50).await;
    cluster.member(followers[1]).resume();
    cluster.member_mut(followers[0]).restart().await;
    load.finish(&mut cluster).await;
}

async fn all_know_the_same_members(cluster: &mut Cluster) {
    let mut lists = Vec::new();
    for at in 0..cluster.len() {
        let request = MemberListRequest { linearizable: true };
        let list = bounded(cluster.clients(at).cluster.member_list(request)).await;
        let list = list.expect("any member lists the members").into_inner();
        let header = list.header.expect("every answer has a header");
        assert_eq!(header.member_id, cluster.id(at).await);
        let mut members = list.members;
        members.sort_by_key(|member| member.id);
        lists.push((header.cluster_id, members));
    }
    assert_eq!(lists[0].1.len(), cluster.len());
    assert!(lists.iter().all(|list| *list == lists[0]), "the members disagree: {lists:#?}");
}
