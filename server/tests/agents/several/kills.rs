//! Server and agents that are killed at any moment, while something is being changed.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use testkit::{Kubectl, eventually};
use tokio::time::sleep;

use super::machines::{IMAGES, Machines};
use crate::remains;
use crate::scene::is_ready;

/// How long it may take until all is as it was ordered last, on a busy machine.
const SETTLED_S: u64 = 120;
const SERVER_KILLS: usize = 5;
const AGENT_KILLS: usize = 4;
/// Another one makes other moments; `BERTH_TEST_SEED` in the environment goes before.
const SEED: u64 = 8;

/// What is ordered, one after the other: how many, and which image.
const ORDERS: [(usize, usize); 7] = [(6, 0), (6, 1), (2, 1), (5, 0), (3, 1), (6, 0), (5, 1)];

/// Numbers that look like chance and are the same each time (SplitMix64).
struct Moments(u64);

impl Moments {
    fn up_to(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    async fn pass(&mut self, longest_ms: u64) {
        sleep(Duration::from_millis(self.up_to(longest_ms))).await;
    }
}

fn deployment(replicas: usize, image: usize) -> Value {
    let labels = json!({"app": "struck"});
    let script = "trap 'exit 0' TERM; while true; do sleep 3600 & wait; done";
    let container = json!({
        "name": "c", "image": IMAGES[image], "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "struck"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    })
}

/// Orders all, each as often as it takes to be heard.
async fn order(kubectl: &Kubectl, mut moments: Moments) {
    for (replicas, image) in ORDERS {
        let file = deployment(replicas, image).to_string();
        eventually("the order is taken", SETTLED_S, async || {
            let said = kubectl.run_with(&["apply", "-f", "-"], &file).await;
            if said.code == Some(0) { Ok(()) } else { Err(said.stderr) }
        })
        .await;
        moments.pass(5000).await;
    }
}

async fn strike(machines: &mut Machines, mut moments: Moments) {
    let mut victims: Vec<bool> =
        (0..SERVER_KILLS + AGENT_KILLS).map(|at| at < SERVER_KILLS).collect();
    while !victims.is_empty() {
        let left = u64::try_from(victims.len()).unwrap();
        let is_server = victims.remove(usize::try_from(moments.up_to(left)).unwrap());
        moments.pass(5000).await;
        if is_server {
            machines.kill_server().await;
            moments.pass(1500).await;
            machines.start_server();
        } else {
            let nodes = u64::try_from(machines.nodes.len()).unwrap();
            let number = usize::try_from(moments.up_to(nodes)).unwrap();
            machines.kill_agent(number).await;
            moments.pass(3000).await;
            machines.start_agent(number);
        }
    }
}

/// The pods whose containers run on any machine, each as often as one does.
fn running(machines: &Machines) -> Vec<String> {
    let all = machines.nodes.iter().flat_map(|node| remains::containers(&node.root));
    let lives =
        all.filter(|one| one.ended.is_none() && Path::new(&format!("/proc/{}", one.pid)).exists());
    lives.map(|one| one.pod).filter(|pod| pod.starts_with("struck-")).collect()
}

/// Whether the pods are what was ordered last, and each runs once.
async fn is_settled(machines: &Machines) -> Result<(), String> {
    let (replicas, image) = ORDERS[ORDERS.len() - 1];
    let pods: Vec<Pod> =
        machines.pods_of("struck").await.into_iter().map(|one| one.object).collect();
    let is_well = |pod: &Pod| {
        let own = pod.spec.as_ref().and_then(|spec| spec.containers[0].image.as_deref());
        own == Some(IMAGES[image]) && is_ready(pod) && pod.metadata.deletion_timestamp.is_none()
    };
    let names: BTreeSet<String> = pods
        .iter()
        .filter(|pod| is_well(pod))
        .filter_map(|pod| pod.metadata.name.clone())
        .collect();
    let mut runs = running(machines);
    runs.sort();
    let are_those = pods.len() == replicas && runs.iter().eq(&names) && names.len() == replicas;
    match are_those {
        true => Ok(()),
        false => Err(format!(
            "{replicas} were ordered, {} pods are there, well are {names:?}, and {runs:?} run\n{}",
            pods.len(),
            machines.logs()
        )),
    }
}

pub(super) async fn come_at_any_moment(machines: &mut Machines) {
    let seed = std::env::var("BERTH_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(SEED);
    println!("BERTH_TEST_SEED={seed}");
    let kubectl = machines.another_kubectl();
    tokio::join!(order(&kubectl, Moments(seed)), strike(machines, Moments(!seed)));
    machines.are_ready().await;
    eventually("what was ordered last is what runs", SETTLED_S, async || {
        is_settled(machines).await
    })
    .await;
    // It stays so: nobody corrects anything any more.
    sleep(Duration::from_secs(3)).await;
    is_settled(machines).await.unwrap();
}
