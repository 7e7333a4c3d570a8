//! A node that cannot reach the store.

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::json;
use testkit::processes;

use crate::scene::{PATIENCE, Scene, container, first, is_ready};

#[tokio::test(flavor = "multi_thread")]
async fn replicas_end_before_the_lease_does_and_come_back_with_it() {
    // Proves that without the store a replica that others would start is ended, that a pod of
    // nobody's runs on, and that both run when the store is back.
    let Some(mut scene) = Scene::start(
        "replicas_end_before_the_lease_does_and_come_back_with_it",
        "bertht4",
        &["--pod-cidr", "10.231.48.0/20", "--lease-ttl", "6s"],
    )
    .await
    else {
        return;
    };
    let mut replica = json!({
        "metadata": {"name": "replica", "namespace": "default", "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "1", "controller": true,
        }]},
        "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 1},
    });
    replica["spec"]["containers"] = json!([container("exec sleep 1000")]);
    scene.create::<k8s_openapi::api::core::v1::Pod>(replica).await;
    scene.pod("alone", json!({"containers": [container("exec sleep 1001")]})).await;
    for name in ["replica", "alone"] {
        scene.until(name, is_ready).await;
    }
    // A container runs a moment before its program does.
    until_runs("sleep 1000").await;
    until_runs("sleep 1001").await;
    let lease = scene.objects.get::<Lease>(Some("kube-node-lease"), "n1").await.unwrap();
    assert!(lease.is_some());

    scene.server.kill();
    let killed = std::time::Instant::now();
    while is_running("sleep 1000") {
        assert!(killed.elapsed() < PATIENCE, "the replica runs on");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(is_running("sleep 1001"), "nobody else would start it");
    scene.server.restart().await;
    let pod =
        scene.until("replica", |pod| first(pod).is_some_and(|one| one.restart_count == 1)).await;
    assert_eq!(first(&pod).unwrap().name, "main");
    scene.until("replica", is_ready).await;
    let alone = scene.until("alone", is_ready).await;
    assert_eq!(first(&alone).unwrap().restart_count, 0);
    for name in ["replica", "alone"] {
        scene.delete(name).await;
    }
}

async fn until_runs(words: &str) {
    let begun = std::time::Instant::now();
    while !is_running(words) {
        assert!(begun.elapsed() < PATIENCE, "{words:?} does not run");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Whether the command line of a process of this machine begins with these words.
fn is_running(words: &str) -> bool {
    !processes(|line| line.starts_with(words)).is_empty()
}
