//! The files that users have, on real machines.

use std::collections::BTreeSet;
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use testkit::eventually;

use super::machines::{Machines, SOON_S};
use crate::scene::{is_ready, phase};

const DEPLOYMENT: &str = "deploy/eurekaserver-deploy";
const IMAGE: &str = "-o=jsonpath={.spec.template.spec.containers[0].image}";

fn seed(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sched/testdata");
    folder.join(format!("seed-{name}.yaml")).display().to_string()
}

/// Where a pod is.
pub(super) fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// Waits until so many replicas are ready and no other pod of theirs is there.
pub(super) async fn settle(machines: &Machines, replicas: usize) -> Vec<Pod> {
    eventually(&format!("{replicas} replicas"), SOON_S, async || {
        let pods: Vec<Pod> = machines.pods().await.into_iter().map(|one| one.object).collect();
        let are_well = pods.iter().all(|pod| {
            pod.metadata.deletion_timestamp.is_none() && phase(pod) == "Running" && is_ready(pod)
        });
        if are_well && pods.len() == replicas {
            return Ok(pods);
        }
        let shown = machines.kubectl.run(&["get", "pods", "-o=wide"]).await.stdout;
        Err(format!("{shown}\n{}", machines.logs()))
    })
    .await
}

/// Created, two that want one port of the host told apart, scaled by replace, a node emptied and
/// filled, a new image by apply, undone. Leaves five replicas.
pub(super) async fn files_run(machines: &Machines) {
    let kubectl = &machines.kubectl;
    let (pod, deployment, service) = (seed("pod"), seed("deployment"), seed("service"));
    kubectl.ok(&["create", "-f", &pod]).await;
    kubectl.ok(&["create", "-f", &deployment, "--validate=false"]).await;
    kubectl.ok(&["create", "-f", &service]).await;
    let pods = settle(machines, 2).await;
    let places: BTreeSet<&str> = pods.iter().map(node).collect();
    assert_eq!(places.len(), 2, "one port of the host, so one on a node: {places:?}");
    for pod in &pods {
        let place = machines.nodes.iter().find(|machine| machine.name == node(pod)).unwrap();
        let name = pod.metadata.name.clone().unwrap();
        eventually("the port of the host leads to the pod", SOON_S, async || {
            let said = machines.ask(0, &format!("http://{}:8761/", place.address), 1).await?;
            if said == [name.clone()] { Ok(()) } else { Err(format!("{said:?}, not {name}")) }
        })
        .await;
    }
    // The registry of this one is misspelt, so nobody has its image.
    let described = ["describe", "pod", "eurekaserver"];
    kubectl.shows(&described, "Failed to pull image \"centos-mater:5000/eureka\"").await;
    let waits = "-o=jsonpath={.status.containerStatuses[0].state.waiting.reason}";
    kubectl.shows(&["get", "pod", "eurekaserver", waits], "ImagePullBackOff").await;
    kubectl.ok(&["delete", "-f", &pod, "--timeout=50s"]).await;

    let file = std::fs::read_to_string(&deployment).unwrap();
    let file = file.replace("            - hostPort: 8761\n", "");
    let file = file.replace("replicas: 2", "replicas: 5");
    eventually(
        "nobody changes it between kubectl's look and its replacement",
        SOON_S,
        async || {
            let said = kubectl.run_with(&["replace", "-f", "-", "--validate=false"], &file).await;
            assert!(said.code == Some(0) || said.stderr.contains("(Conflict)"), "{said:?}");
            if said.code == Some(0) { Ok(()) } else { Err(said.stderr) }
        },
    )
    .await;
    let status = ["rollout", "status", DEPLOYMENT, "--timeout=50s"];
    kubectl.ok(&status).await;
    let emptied = machines.nodes[0].name.clone();
    kubectl.ok(&["cordon", &emptied]).await;
    kubectl.ok(&["drain", &emptied, "--ignore-daemonsets", "--timeout=50s"]).await;
    let pods = settle(machines, 5).await;
    assert!(pods.iter().all(|pod| node(pod) != emptied), "the node is empty");
    kubectl.ok(&["uncordon", &emptied]).await;
    let second = file.replace("/eureka\n", "/eureka:2\n");
    kubectl.ok_with(&["apply", "-f", "-", "--validate=false"], &second).await;
    kubectl.ok(&status).await;
    assert_eq!(kubectl.ok(&["get", DEPLOYMENT, IMAGE]).await, "centos-master:5000/eureka:2");
    kubectl.ok(&["rollout", "undo", DEPLOYMENT]).await;
    kubectl.ok(&status).await;
    assert_eq!(kubectl.ok(&["get", DEPLOYMENT, IMAGE]).await, "centos-master:5000/eureka");
    let pods = settle(machines, 5).await;
    let places: BTreeSet<&str> = pods.iter().map(node).collect();
    assert_eq!(places.len(), machines.nodes.len(), "replicas are spread: {places:?}");
}
