//! A member that holds something else than the others.

use std::time::Duration;

use super::cluster::{Cluster, SOON};
use super::home::{put, write};
use crate::Agreement;

/// Three members that have written something, the third of which then finds another value on its
/// disk than it wrote there.
async fn corrupted(interval: Option<Duration>) -> Cluster {
    let mut cluster = Cluster::start(3).await;
    let mut revision = 0;
    for n in 0..20 {
        revision = write(&cluster.nodes[&1], &format!("k{n}"), "value").await.revision;
    }
    for node in cluster.nodes.values() {
        assert_eq!(node.compare_members().await.unwrap(), Agreement::Equal);
    }
    cluster.stop_member(3).await;
    cluster.homes[&3].engines.change_value(revision);
    for id in [1, 2] {
        cluster.stop_member(id).await;
        cluster.homes.get_mut(&id).unwrap().config.corrupt_check_interval = interval;
    }
    for id in [1, 2] {
        cluster.start_member(id).await;
    }
    for node in cluster.nodes.values() {
        tokio::time::timeout(SOON, node.ready()).await.unwrap().unwrap();
    }
    cluster.start_member(3).await;
    tokio::time::timeout(SOON, cluster.nodes[&3].ready()).await.unwrap().unwrap();
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_other_data_is_found_by_all_and_by_itself() {
    // Proves that equal members are equal, that whoever compares names the one that differs, and
    // that this one fails with what is to be done about it when it is asked to look.
    let cluster = corrupted(None).await;
    for node in cluster.nodes.values() {
        assert_eq!(node.compare_members().await.unwrap(), Agreement::Differ(vec![3]));
    }
    for id in [1, 3] {
        cluster.nodes[&id].check_against_others().await.unwrap();
    }
    let failure = tokio::time::timeout(SOON, cluster.nodes[&3].failed()).await.unwrap();
    assert!(failure.to_string().contains("other data than the majority"), "{failure}");
    write(&cluster.nodes[&1], "others", "go on").await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_alarm_is_raised_and_refuses_writes() {
    // Proves that a leader which looks from time to time raises CORRUPT for the member that
    // differs, and that nothing is written from then on.
    let cluster = corrupted(Some(Duration::from_millis(100))).await;
    let node = &cluster.nodes[&1];
    let raised = async {
        while node.reader().alarms().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, raised).await.unwrap();
    assert_eq!(node.reader().alarms()[0].member_id, 3);
    let refused = node.propose(put("k", "v")).await.unwrap().result;
    assert_eq!(refused, Err(store::Error::Corrupt));
    cluster.shutdown().await;
}
