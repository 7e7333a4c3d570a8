//! What dies: nodes, controllers, connections.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use testkit::{Proxy, Weather, eventually};

use crate::crew::{Crew, SOON_S, controllers, deployment, is_ready, set_image, store_at, template};

async fn node(crew: &Crew, name: &str) -> (String, usize) {
    let node = crew.objects.get::<Node>(None, name).await.unwrap().unwrap().object;
    let conditions = node.status.unwrap().conditions.unwrap();
    let ready = conditions.into_iter().find(|one| one.type_ == "Ready").unwrap();
    let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    (ready.status, taints.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_replaced_and_may_come_back() {
    // Proves that replicas of a dead node run elsewhere, that its daemon stays its own, shown as
    // not ready, and that the node is as before when it is back.
    let crew = Crew::with_controllers(&["n1", "n2", "n3"]).await;
    crew.make::<Deployment>(deployment(6, "web:1")).await;
    crew.make::<DaemonSet>(json!({
        "metadata": {"name": "log", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "log"}},
            "template": {
                "metadata": {"labels": {"app": "log"}},
                "spec": {"containers": [{"name": "log", "image": "log:1"}]},
            },
        },
    }))
    .await;
    crew.settles(&[("web:1", 6), ("log:1", 3)]).await;
    let died = std::time::Instant::now();
    crew.kill("n2").await;
    eventually("six elsewhere", SOON_S, async || {
        let pods = crew.pods().await;
        let on = |pod: &Pod| pod.spec.as_ref().unwrap().node_name.clone().unwrap_or_default();
        let ready = pods.iter().filter(|(_, is_ready)| *is_ready);
        let elsewhere = ready.filter(|(pod, _)| on(pod) != "n2").count();
        let there: Vec<_> = pods.iter().filter(|(pod, _)| on(pod) == "n2").collect();
        let is_lost = there.len() == 1 && !there[0].1;
        if elsewhere == 8 && is_lost { Ok(()) } else { Err(format!("{elsewhere} {there:?}")) }
    })
    .await;
    println!("lease gone to replacements ready: {:?}", died.elapsed());
    eventually("a node that says so", SOON_S, async || match node(&crew, "n2").await {
        (ready, 2) if ready == "Unknown" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    crew.join("n2").await;
    crew.settles(&[("web:1", 6), ("log:1", 3)]).await;
    eventually("a clean node", SOON_S, async || match node(&crew, "n2").await {
        (ready, 0) if ready == "True" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_die_at_any_moment() {
    // Proves that with leaders that are killed in the middle of changes of size and version, by
    // others that take over, no replica is lost and none doubled once all is settled.
    let crew = Crew::start(&["n1", "n2"]).await;
    crew.make::<Deployment>(deployment(4, "web:0")).await;
    let mut two = [controllers(crew.store(), "a"), controllers(crew.store(), "b")];
    for round in 0..6_u64 {
        let size = [9, 2, 7, 12, 3, 8][usize::try_from(round).unwrap()];
        crew.change::<Deployment>("web", |one| {
            one.spec.as_mut().unwrap().replicas = Some(size);
            set_image(one, &format!("web:{round}"));
        })
        .await;
        // Moments that differ from round to round.
        tokio::time::sleep(Duration::from_millis(40 + 230 * round)).await;
        let which = usize::try_from(round % 2).unwrap();
        two[which].abort();
        two[which] = controllers(crew.store(), "next");
    }
    crew.settles(&[("web:5", 8)]).await;
    // And it stays so.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(crew.running().await, Ok([("web:5".to_owned(), 8)].into()));
    two.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_cut_off_does_no_harm() {
    // Proves that one which was deposed while it could not be reached writes nothing when its
    // connection is back, and that the other one's work stands.
    let crew = Crew::start(&["n1"]).await;
    let proxy = Proxy::start(format!("127.0.0.1:{}", crew.server.client_port)).await;
    let cut = controllers(store_at(&format!("http://{}", proxy.address())), "cut");
    crew.make::<Deployment>(deployment(2, "web:1")).await;
    crew.settles(&[("web:1", 2)]).await;
    let other = controllers(crew.store(), "other");
    // In the middle of its work.
    crew.change::<Deployment>("web", |one| set_image(one, "web:2")).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    proxy.set(Weather { stalled: true, ..Weather::default() });
    crew.settles(&[("web:2", 2)]).await;
    crew.change::<Deployment>("web", |one| one.spec.as_mut().unwrap().replicas = Some(4)).await;
    crew.settles(&[("web:2", 4)]).await;
    proxy.set(Weather::default());
    tokio::time::sleep(Duration::from_secs(1)).await;
    crew.change::<Deployment>("web", |one| one.spec.as_mut().unwrap().replicas = Some(3)).await;
    crew.settles(&[("web:2", 3)]).await;
    cut.abort();
    other.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_nobody_waits_for_its_node() {
    // Proves that a pod without a controller is kept when its node dies, shown as lost, and runs
    // again when the node is back.
    let crew = Crew::with_controllers(&["n1"]).await;
    let mut document = template("web:1");
    document["metadata"]["name"] = json!("alone");
    document["metadata"]["namespace"] = json!("shop");
    crew.make::<Pod>(document).await;
    crew.settles(&[("web:1", 1)]).await;
    crew.kill("n1").await;
    eventually("a lost pod", SOON_S, async || {
        let pod = crew.get::<Pod>("alone").await.unwrap();
        let reason = pod.status.as_ref().and_then(|status| status.reason.clone());
        if !is_ready(&pod) && reason.as_deref() == Some("NodeLost") {
            Ok(())
        } else {
            Err(format!("{reason:?}"))
        }
    })
    .await;
    crew.join("n1").await;
    crew.settles(&[("web:1", 1)]).await;
}
