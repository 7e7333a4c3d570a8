//! An agent that is killed and does not come back, while the machine and its containers go on.

use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use testkit::eventually;

use super::machines::{IMAGES, Machines, SOON_S};
use super::seeds::node;
use crate::remains::{self, Remains};
use crate::scene::{first, is_ready};

const REPLICAS: usize = 3;
/// The machine whose agent dies.
const DEAD: usize = 1;

/// Replicas that go elsewhere, and pods that stay where they are.
fn objects() -> Value {
    let workload = |kind: &str, name: &str, more: Value| {
        let labels = json!({"app": name});
        let container =
            json!({"name": "c", "image": IMAGES[1], "command": ["sh", "-c", "exec sleep 3600"]});
        let mut spec = more;
        spec["selector"] = json!({"matchLabels": labels});
        spec["template"] =
            json!({"metadata": {"labels": labels}, "spec": {"containers": [container]}});
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
    };
    json!({"apiVersion": "v1", "kind": "List", "items": [
        workload("Deployment", "moving", json!({"replicas": REPLICAS})),
        workload("DaemonSet", "staying", json!({})),
    ]})
}

fn of(machines: &Machines, number: usize, app: &str) -> Vec<Remains> {
    let prefix = format!("{app}-");
    let all = remains::containers(&machines.nodes[number].root).into_iter();
    all.filter(|one| one.pod.starts_with(&prefix)).collect()
}

fn is_there(container: &Remains) -> bool {
    Path::new(&format!("/proc/{}", container.pid)).exists()
}

/// So many of them, all ready and none that is leaving.
async fn settled(machines: &Machines, app: &str, count: usize) -> Vec<Pod> {
    eventually(&format!("{count} of {app}"), SOON_S, async || {
        let pods: Vec<Pod> =
            machines.pods_of(app).await.into_iter().map(|one| one.object).collect();
        let are_well =
            pods.iter().all(|pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none());
        if are_well && pods.len() == count { Ok(pods) } else { Err(machines.logs()) }
    })
    .await
}

pub(super) async fn an_agent_stays_dead(machines: &mut Machines) {
    machines.kubectl.ok_with(&["apply", "-f", "-"], &objects().to_string()).await;
    let before = settled(machines, "moving", REPLICAS).await;
    settled(machines, "staying", machines.nodes.len()).await;
    let dead = machines.nodes[DEAD].name.clone();
    let lost = before.iter().filter(|pod| node(pod) == dead).count();
    assert!(lost > 0, "replicas are spread");
    let staying = of(machines, DEAD, "staying").pop().expect("one on each node");

    machines.kill_agent(DEAD).await;
    let is_elsewhere = async || {
        let pods = settled(machines, "moving", REPLICAS).await;
        if pods.iter().all(|pod| node(pod) != dead) { Ok(pods) } else { Err(String::new()) }
    };
    let after = eventually("all replicas run on other nodes", SOON_S, is_elsewhere).await;
    let ends = of(machines, DEAD, "moving");
    assert_eq!(ends.len(), lost, "their traces are left for the next agent: {ends:?}");
    assert!(!ends.iter().any(is_there), "{ends:?} still run\n{}", machines.logs());
    let last_end = ends.iter().map(|one| one.ended.expect("it was written down")).max().unwrap();
    let is_old =
        |one: &Remains| before.iter().any(|pod| pod.metadata.name.as_ref() == Some(&one.pod));
    let others = [0, 2].into_iter().flat_map(|number| of(machines, number, "moving"));
    let instead = others.filter(|one| !is_old(one)).map(|one| one.started).min().unwrap();
    println!("ended {:#} before others began in their place", instead.duration_since(last_end));
    assert!(last_end < instead, "{last_end} and {instead}");
    assert!(is_there(&staying), "nobody would start it elsewhere");

    machines.start_agent(DEAD);
    machines.are_ready().await;
    eventually("nothing is left of those that moved", SOON_S, async || {
        let left = of(machines, DEAD, "moving");
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}\n{}", machines.logs())) }
    })
    .await;
    let names = |pods: &[Pod]| -> Vec<_> {
        let mut names: Vec<_> = pods.iter().map(|pod| pod.metadata.name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&settled(machines, "moving", REPLICAS).await), names(&after));
    let adopted = settled(machines, "staying", machines.nodes.len()).await;
    assert!(adopted.iter().all(|pod| first(pod).unwrap().restart_count == 0));
    assert!(is_there(&staying), "it was adopted as it is");
}
