//! Services, asked from every machine.

use std::collections::BTreeSet;

use testkit::eventually;

use super::machines::{Machines, SOON_S};
use super::seeds::node;

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: outside}
spec:
  type: NodePort
  selector: {app: eurekaserver}
  ports: [{port: 80, targetPort: 8761, nodePort: 30080}]
---
apiVersion: v1
kind: Service
metadata: {name: near}
spec:
  type: NodePort
  externalTrafficPolicy: Local
  internalTrafficPolicy: Local
  selector: {app: eurekaserver}
  ports: [{port: 80, targetPort: 8761, nodePort: 30081}]
";
/// Any of five replicas is missed by so many questions once in fifteen hundred times, and then asked
/// again.
const QUESTIONS: u32 = 40;

async fn cluster_address(machines: &Machines, service: &str) -> String {
    machines.kubectl.ok(&["get", "service", service, "-o=jsonpath={.spec.clusterIP}"]).await
}

/// Asks until exactly these have answered.
async fn answer(machines: &Machines, at: usize, url: &str, expected: &BTreeSet<String>) {
    eventually(&format!("{url} from machine {at}"), SOON_S, async || {
        let said: BTreeSet<String> = machines.ask(at, url, QUESTIONS).await?.into_iter().collect();
        if said == *expected { Ok(()) } else { Err(format!("{said:?}, not {expected:?}")) }
    })
    .await;
}

pub(super) async fn are_reached_from_everywhere(machines: &Machines) {
    machines.kubectl.ok_with(&["apply", "-f", "-"], SERVICES).await;
    let seeds = cluster_address(machines, "webapp").await;
    let near = cluster_address(machines, "near").await;
    let pods = machines.pods().await;
    let names = |of: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
        let own = pods.iter().filter(|pod| of(node(pod)));
        own.filter_map(|pod| pod.metadata.name.clone()).collect()
    };
    let all = names(&|_| true);
    for machine in &machines.nodes {
        answer(machines, machine.at, &format!("http://{seeds}/"), &all).await;
        answer(machines, machine.at, "http://127.0.0.1:30080/", &all).await;
        // From a machine that is no node.
        answer(machines, 0, &format!("http://{}:30080/", machine.address), &all).await;
        let own = names(&|node| node == machine.name);
        answer(machines, machine.at, &format!("http://{near}/"), &own).await;
        answer(machines, 0, &format!("http://{}:30081/", machine.address), &own).await;
        let asks = own.first().expect("replicas are on every node");
        let name = ["exec", asks, "--", "nslookup", "-type=a", "webapp"];
        machines.kubectl.shows(&name, &seeds).await;
    }
}
