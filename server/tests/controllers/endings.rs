//! Namespaces and owners that go.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use sched::objects::{Delete, Propagation};
use serde_json::json;
use testkit::eventually;

use crate::crew::{Crew, SOON_S, deployment};

fn by(propagation: Propagation) -> Delete {
    Delete { propagation, ..Delete::default() }
}

async fn left(crew: &Crew) -> (usize, usize, usize) {
    let deployments = crew.list::<Deployment>().await.len();
    (deployments, crew.list::<ReplicaSet>().await.len(), crew.list::<Pod>().await.len())
}

async fn becomes(crew: &Crew, expected: (usize, usize, usize)) {
    eventually("what is left", SOON_S, async || {
        let left = left(crew).await;
        if left == expected { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_take_along_what_they_own_or_leave_it() {
    // Proves background, foreground and orphan deletion, and that orphans are taken in again by a
    // new owner that fits.
    let crew = Crew::with_controllers(&["n1"]).await;
    for propagation in [Propagation::Background, Propagation::Foreground] {
        crew.make::<Deployment>(deployment(2, "web:1")).await;
        crew.settles(&[("web:1", 2)]).await;
        crew.delete::<Deployment>("web", &by(propagation)).await;
        becomes(&crew, (0, 0, 0)).await;
    }
    crew.make::<Deployment>(deployment(2, "web:1")).await;
    crew.settles(&[("web:1", 2)]).await;
    let before = crew.list::<Pod>().await;
    crew.delete::<Deployment>("web", &by(Propagation::Orphan)).await;
    becomes(&crew, (0, 1, 2)).await;
    crew.make::<Deployment>(deployment(2, "web:1")).await;
    eventually("an adopted set", SOON_S, async || {
        let sets = crew.list::<ReplicaSet>().await;
        let owners = sets[0].metadata.owner_references.as_ref().map_or(0, Vec::len);
        if sets.len() == 1 && owners == 1 { Ok(()) } else { Err(format!("{sets:?}")) }
    })
    .await;
    let uids = |pods: Vec<Pod>| pods.into_iter().map(|pod| pod.metadata.uid).collect::<Vec<_>>();
    assert_eq!(uids(crew.list::<Pod>().await), uids(before), "the pods went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_goes_with_all_that_is_in_it() {
    // Proves that a namespace is Terminating until its last object is gone, kinds that no
    // controller knows included, and that no pod comes back meanwhile.
    let crew = Crew::with_controllers(&["n1"]).await;
    crew.make::<Deployment>(deployment(3, "web:1")).await;
    let settings = json!({"metadata": {"name": "settings", "namespace": "shop"}});
    crew.make::<ConfigMap>(settings).await;
    crew.settles(&[("web:1", 3)]).await;
    crew.objects.delete::<Namespace>(None, "shop", &Delete::default()).await.unwrap();
    let now = crew.objects.get::<Namespace>(None, "shop").await.unwrap();
    if let Some(now) = now {
        assert_eq!(now.object.status.unwrap().phase.as_deref(), Some("Terminating"));
    }
    eventually("the end", SOON_S, async || {
        let namespace = crew.objects.get::<Namespace>(None, "shop").await.unwrap();
        let left = (left(&crew).await, crew.list::<ConfigMap>().await.len());
        if namespace.is_none() && left == ((0, 0, 0), 0) {
            Ok(())
        } else {
            Err(format!("{} {left:?}", namespace.is_some()))
        }
    })
    .await;
}
