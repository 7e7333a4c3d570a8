//! Where the traffic goes.

use std::time::{Duration, Instant};

use api::etcdserverpb::RangeRequest;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use sched::kv;
use sched::objects::{Delete, Mirror, clock};
use serde_json::json;
use testkit::eventually;

use crate::crew::{Crew, SOON_S, deployment};

/// Changes of readiness that are measured.
const CHANGES: usize = 200;

fn service() -> serde_json::Value {
    json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "selector": {"app": "web"},
            "clusterIP": "None",
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    })
}

async fn records(crew: &Crew) -> i64 {
    let request =
        RangeRequest { count_only: true, ..kv::range(b"/skydns/local/cluster/svc/shop/web/") };
    crew.objects.store().range(request).await.unwrap().count
}

fn ready(slice: &EndpointSlice) -> usize {
    let is_ready = |one: &&k8s_openapi::api::discovery::v1::Endpoint| {
        one.conditions.as_ref().is_some_and(|conditions| conditions.ready == Some(true))
    };
    slice.endpoints.iter().filter(is_ready).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_pods_are_found_and_others_are_not() {
    // Proves slices, Endpoints and SkyDNS records as pods come, are ready, are not, and go, and
    // that nothing is left of a Service that is deleted. Prints how long a change takes.
    let crew = Crew::with_controllers(&["n1"]).await;
    crew.make::<Service>(service()).await;
    crew.make::<Deployment>(deployment(3, "web:1")).await;
    eventually("three endpoints", SOON_S, async || {
        let slices = crew.list::<EndpointSlice>().await;
        let found = slices.iter().map(ready).sum::<usize>();
        let port = slices.first().and_then(|slice| slice.ports.as_ref()?.first()?.port);
        let addresses = crew.get::<Endpoints>("web").await.and_then(|one| one.subsets);
        let addresses = addresses.into_iter().flatten().filter_map(|one| one.addresses);
        let all = (found, port, addresses.flatten().count(), records(&crew).await);
        if all == (3, Some(8080), 3, 3) { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .await;
    measure(&crew).await;
    crew.delete::<Service>("web", &Delete::default()).await;
    eventually("nothing", SOON_S, async || {
        let slices = crew.list::<EndpointSlice>().await.len();
        let endpoints = crew.get::<Endpoints>("web").await.is_some();
        let all = (slices, endpoints, records(&crew).await);
        if all == (0, false, 0) { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .await;
}

/// From the write of a pod's readiness to the slice that says so, as a follower sees it.
async fn measure(crew: &Crew) {
    let mut slices: Mirror<EndpointSlice> = Mirror::new(&crew.objects);
    slices.synced().await;
    let name = crew.list::<Pod>().await[0].metadata.name.clone().unwrap();
    let mut took = Vec::new();
    for change in 0..CHANGES {
        let is_ready = change % 2 == 1;
        let started = Instant::now();
        crew.change::<Pod>(&name, |pod| {
            let conditions = pod.status.as_mut().unwrap().conditions.as_mut().unwrap();
            conditions[0].status = if is_ready { "True" } else { "False" }.into();
            conditions[0].last_transition_time = Some(clock::time());
        })
        .await;
        let expected = if is_ready { 3 } else { 2 };
        let arrival = async {
            while slices.read().values().map(|slice| ready(&slice.object)).sum::<usize>()
                != expected
            {
                slices.changed().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(SOON_S), arrival).await.expect("a slice");
        took.push(started.elapsed());
    }
    took.sort_unstable();
    println!(
        "readiness written to slice seen, {CHANGES} changes: p50 {:?}, p99 {:?}, most {:?}",
        took[CHANGES / 2],
        took[CHANGES * 99 / 100],
        took[CHANGES - 1]
    );
}
