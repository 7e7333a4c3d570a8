//! UDP through a Service, to pods and from them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Finished, Kubectl, eventually, require};

use crate::machine::{Has, Machine, SOON_S, programs};

/// Says its name and what it was told to whoever tells it something.
const ECHO: &str = r#"$s = IO::Socket::INET->new(Proto => "udp", LocalPort => 5300) or die $@;
    while (defined $s->recv($m, 65535)) { $s->send("$ENV{HOSTNAME} $m") }"#;
/// Sends a datagram and prints what is answered by the address that it was sent to, if anything is.
const ASK: &str = r#"$s = IO::Socket::INET->new(Proto => "udp", PeerAddr => $ARGV[0]) or die $@;
    $s->send($ARGV[1] x $ARGV[2]); $SIG{ALRM} = sub { exit 9 }; alarm 2;
    defined $s->recv($m, 65535) or die $!; print $m"#;
const NODE_PORT: u16 = 30_053;
/// A datagram that no packet of the network holds whole.
const LARGE: usize = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_reach_the_pods_of_a_service() {
    // Proves with real pods that datagrams find their way through a Service and their answers back:
    // to its cluster address, its name and its node port, from the node and from a pod, small ones
    // and ones of many packets, to each replica; and that clients of a replica that goes are served
    // by the one that stays.
    let test = "datagrams_reach_the_pods_of_a_service";
    let Some(machine) = Machine::start(test, Has::Runc).await else { return };
    let kubectl = machine.kubectl().await;
    kubectl.ok_with(&["apply", "-f", "-"], &objects().to_string()).await;
    kubectl.ok(&["rollout", "status", "deployment/echo", "--timeout=50s"]).await;
    kubectl.ok(&["wait", "pod/client", "--for=condition=Ready", "--timeout=50s"]).await;
    let address = ["get", "service", "echo", "-o=jsonpath={.spec.clusterIP}"];
    let address = format!("{}:53", kubectl.ok(&address).await);
    let door = format!("{}:{NODE_PORT}", machine.address());
    let replicas = replicas(&kubectl, 2).await;
    for to in [&address, &door, &format!("127.0.0.1:{NODE_PORT}")] {
        by_all(&replicas, to, async |words| machine.run("perl", "perl", &words).await).await;
    }
    let perl = require("perl", "perl").display().to_string();
    for to in [&address, &door, "echo:53"] {
        let within = async |words: Vec<&str>| {
            let command = ["exec", "client", "--", &perl];
            kubectl.run(&[&command, &words[..]].concat()).await
        };
        by_all(&replicas, to, within).await;
    }
    kubectl.ok(&["scale", "deployment/echo", "--replicas=1"]).await;
    let replicas = self::replicas(&kubectl, 1).await;
    by_all(&replicas, &door, async |words| machine.run("perl", "perl", &words).await).await;
}

fn objects() -> Value {
    let (volumes, mounts) = programs();
    let container = |command: Value| json!({"name": "c", "image": "nginx:alpine", "command": command, "volumeMounts": mounts});
    let spec = |command: Value| {
        json!({
            "containers": [container(command)], "volumes": volumes,
            "terminationGracePeriodSeconds": 0,
        })
    };
    let perl = require("perl", "perl");
    let labels = json!({"app": "echo"});
    let ports = json!([{"port": 53, "targetPort": 5300, "protocol": "UDP", "nodePort": NODE_PORT}]);
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "echo"},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": spec(json!([perl, "-MIO::Socket::INET", "-e", ECHO])),
                },
            },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo"},
            "spec": {"type": "NodePort", "selector": labels, "ports": ports},
        },
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"},
            "spec": spec(json!(["sleep", "3600"])),
        },
    ]})
}

/// The names of the pods that are there, once there are so many and no more.
async fn replicas(kubectl: &Kubectl, count: usize) -> BTreeSet<String> {
    let list = ["get", "pods", "-l=app=echo", "-o=jsonpath={.items[*].metadata.name}"];
    eventually(&format!("{count} replicas"), SOON_S, async || {
        let names = kubectl.ok(&list).await;
        let names: BTreeSet<String> = names.split_whitespace().map(str::to_owned).collect();
        if names.len() == count { Ok(names) } else { Err(format!("{names:?}")) }
    })
    .await
}

/// Asks until each of the replicas, and nobody else, has answered, whole.
async fn by_all(replicas: &BTreeSet<String>, to: &str, perl: impl AsyncFn(Vec<&str>) -> Finished) {
    for size in [1, LARGE] {
        let (times, sent) = (size.to_string(), "x".repeat(size));
        let mut left = replicas.clone();
        eventually(&format!("all replicas answer {size} bytes at {to}"), SOON_S, async || {
            let said = perl(vec!["-MIO::Socket::INET", "-e", ASK, to, "x", &times]).await;
            let Some((name, text)) = said.stdout.split_once(' ') else {
                // Nobody may listen yet, and datagrams may be lost.
                return Err(format!("{left:?} do not: {said:?}"));
            };
            if !replicas.contains(name) {
                return Err(format!("{name} answers"));
            }
            assert!(text == sent, "{} bytes came back", text.len());
            left.remove(name);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?} do not")) }
        })
        .await;
    }
}
