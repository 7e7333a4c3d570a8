//! Versions of a deployment.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use serde_json::json;
use testkit::eventually;

use crate::crew::{Crew, SOON_S, deployment, set_image};

fn revision(annotations: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let key = "deployment.kubernetes.io/revision";
    annotations.and_then(|all| all.get(key)).cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_rolls_and_is_undone() {
    // Proves a rollout and an undo as kubectl does it (the old template is put back), with the
    // revisions that `rollout history` reads, and a change of size.
    let crew = Crew::with_controllers(&["n1", "n2"]).await;
    crew.make::<Deployment>(deployment(3, "web:1")).await;
    crew.settles(&[("web:1", 3)]).await;
    crew.change::<Deployment>("web", |one| set_image(one, "web:2")).await;
    crew.settles(&[("web:2", 3)]).await;
    let sets = crew.list::<ReplicaSet>().await;
    let old = sets.into_iter().find(|set| revision(set.metadata.annotations.as_ref()) == "1");
    let template = old.unwrap().spec.unwrap().template.unwrap();
    crew.change::<Deployment>("web", |one| {
        let mut template = template.clone();
        let labels = template.metadata.as_mut().unwrap().labels.as_mut().unwrap();
        labels.remove("pod-template-hash");
        one.spec.as_mut().unwrap().template = template;
    })
    .await;
    crew.settles(&[("web:1", 3)]).await;
    crew.change::<Deployment>("web", |one| one.spec.as_mut().unwrap().replicas = Some(5)).await;
    crew.settles(&[("web:1", 5)]).await;
    assert_eq!(crew.list::<ReplicaSet>().await.len(), 2);
    eventually("the status", SOON_S, async || {
        let deployment = crew.get::<Deployment>("web").await.unwrap();
        let revision = revision(deployment.metadata.annotations.as_ref());
        let status = deployment.status.unwrap();
        let is_current = status.observed_generation == deployment.metadata.generation;
        let counts = (status.updated_replicas, status.available_replicas, status.replicas);
        if is_current && revision == "3" && counts == (Some(5), Some(5), Some(5)) {
            Ok(())
        } else {
            Err(format!("{revision}: {status:?}"))
        }
    })
    .await;
    eventually("an event", SOON_S, async || {
        let reasons = crew.reasons().await;
        if reasons.contains("ScalingReplicaSet") { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_misses_its_deadline_goes_back() {
    // Proves the way back to the last good version by itself, with an event that says so, and that
    // the deployment is settled afterwards.
    let crew = Crew::with_controllers(&["n1"]).await;
    let mut document = deployment(3, "web:1");
    document["spec"]["progressDeadlineSeconds"] = json!(2);
    crew.make::<Deployment>(document).await;
    crew.settles(&[("web:1", 3)]).await;
    let complete = async |what: &str| {
        eventually(what, SOON_S, async || {
            let reason = crew.progress("web").await;
            if reason == "NewReplicaSetAvailable" { Ok(()) } else { Err(reason) }
        })
        .await;
    };
    // A version that was never seen to be complete is none to go back to.
    complete("the first version").await;
    crew.change::<Deployment>("web", |one| set_image(one, "bad:2")).await;
    eventually("the event", SOON_S, async || {
        let reasons = crew.reasons().await;
        if reasons.contains("RolloutReturned") { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .await;
    crew.settles(&[("web:1", 3)]).await;
    complete("the condition").await;
    let deployment = crew.get::<Deployment>("web").await.unwrap();
    assert_eq!(deployment.metadata.annotations.unwrap()["berth.dev/returned-from"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_cluster_is_left_alone() {
    // Proves that controllers with nothing to do write nothing: no object changes any more.
    let crew = Crew::with_controllers(&["n1"]).await;
    crew.make::<Deployment>(deployment(2, "web:1")).await;
    crew.settles(&[("web:1", 2)]).await;
    let versions = async || {
        let deployments = crew.list::<Deployment>().await.into_iter().map(|one| one.metadata);
        let sets = crew.list::<ReplicaSet>().await.into_iter().map(|one| one.metadata);
        let all = deployments.chain(sets).map(|meta| meta.resource_version);
        all.collect::<Vec<_>>()
    };
    let mut before = versions().await;
    eventually("calm", SOON_S, async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = versions().await;
        let is_calm = now == before;
        before = now;
        if is_calm { Ok(()) } else { Err("still changing".to_owned()) }
    })
    .await;
}
