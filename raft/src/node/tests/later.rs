//! What a later version of berth has written to the log.

use bytes::Bytes;
use tokio::time::timeout;

use super::cluster::{Cluster, SOON};
use super::home::{Home, TestNode, get, process, put, write};
use crate::codec;
use crate::types::Proposal;

/// A put with a field that only a later version knows, in the log of a node that knows it.
async fn write_of_later_version(node: &TestNode) -> bool {
    let command = put("later", "1");
    // Field 2000: a varint.
    let payload = [&codec::encode_command(&command)[..], &[0x80, 0x7d, 0x01]].concat();
    let proposal = Proposal::from_parts(command, Bytes::from(payload));
    let permit = node.inner.admission.enter(proposal.encoded_len()).unwrap();
    node.write(proposal, permit).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_follower_stops_before_what_it_does_not_know() {
    // Proves that a follower neither takes nor applies such a command, and ends with words that say
    // what to do, while those who know it (here: the leader and nobody else) keep it.
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    write(&cluster.nodes[&leader], "a", "1").await;
    for node in cluster.nodes.values() {
        // A majority suffices for the write; here all are to have it.
        node.linearizable().await.unwrap();
    }
    let node = cluster.nodes[&leader].clone();
    let written = tokio::spawn(async move { write_of_later_version(&node).await });
    for (id, node) in &cluster.nodes {
        if *id != leader {
            let failed = timeout(SOON, node.failed()).await.unwrap().to_string();
            assert!(failed.contains(codec::LATER_VERSION), "{failed}");
            assert!(!failed.contains("Check the disk"), "{failed}");
            assert_eq!(get(&node.reader(), "later"), None);
            assert_eq!(get(&node.reader(), "a").as_deref(), Some("1"));
        }
    }
    written.abort();
    // One that stops for it starts again: nothing of it is in its log.
    let follower = cluster.follower_of(leader);
    cluster.stop_member(leader).await;
    cluster.stop_member(follower).await;
    cluster.start_member(follower).await;
    assert_eq!(get(&cluster.nodes[&follower].reader(), "later"), None);
    cluster.shutdown().await;
}

#[test]
fn an_older_member_does_not_start_over_what_it_does_not_know() {
    // Proves that a log with such a command in it, read by an older version, stops the member.
    let home = Home::new();
    process().block_on(async {
        let node = home.start().await.unwrap();
        write(&node, "a", "1").await;
        assert!(write_of_later_version(&node).await, "who knows it applies it");
        node.shutdown().await;
    });
    // So that it has to read the log.
    home.engines.lose();
    let refused = process().block_on(async {
        match home.start().await {
            Ok(node) => timeout(SOON, node.failed()).await.expect("it fails").to_string(),
            Err(error) => error.to_string(),
        }
    });
    assert!(refused.contains(codec::LATER_VERSION), "{refused}");
    assert!(!refused.contains("Check the disk"), "{refused}");
}
