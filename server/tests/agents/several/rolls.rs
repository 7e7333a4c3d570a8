//! Rolling updates with a load running.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};
use testkit::eventually;

use super::load::{Load, Manner};
use super::machines::{IMAGES, Machines, SOON_S};

/// Requests that are made, and more if the rolls take longer.
const REQUESTS: u64 = 10_000;
/// Rolls to the next version and back, at least.
const ROUNDS: usize = 2;
const PAGES: u16 = 30090;
const KEPT: u16 = 30091;
const DEPLOYMENT: &str = "deployment/rolled";

/// Pages, a slow one, and a server that keeps its connections. On SIGTERM all of it ends at once,
/// whatever is being answered: nothing here is kind to its clients.
const SCRIPT: &str = r#"
trap 'exit 0' TERM
mkdir -p /www/cgi-bin
hostname > /www/index.html
printf '#!/bin/sh\nsleep 0.3\nprintf "Content-Type: text/plain\\r\\n\\r\\nslow\\n"\n' > /www/cgi-bin/slow
busybox chmod +x /www/cgi-bin/slow
cat > /keep <<'END'
blank=$(printf '\r')
while read -r line; do
  [ "$line" != "$blank" ] || printf 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nkept\n'
done
END
nc -ll -p 8762 -e sh /keep &
httpd -p 8761 -h /www
while true; do sleep 3600 & wait; done
"#;

fn objects() -> Value {
    let labels = json!({"app": "rolled"});
    let probe = json!({
        "httpGet": {"path": "/", "port": 8761}, "periodSeconds": 1, "timeoutSeconds": 10,
    });
    let container = json!({
        "name": "web", "image": IMAGES[0], "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", SCRIPT], "readinessProbe": probe,
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "rolled"},
            "spec": {
                "replicas": 4, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "rolled"},
            "spec": {"type": "NodePort", "selector": labels, "ports": [
                {"name": "pages", "port": 80, "targetPort": 8761, "nodePort": PAGES},
                {"name": "kept", "port": 81, "targetPort": 8762, "nodePort": KEPT},
            ]},
        },
    ]})
}

/// A port of all nodes, as this test reaches them.
fn addresses(machines: &Machines, port: u16) -> Vec<SocketAddr> {
    let places = machines.net.places();
    let own = machines.nodes.iter().map(|node| &places[node.at].client);
    let hosts = own.map(|client| client.split(':').next().unwrap().parse().unwrap());
    hosts.map(|host: std::net::IpAddr| (host, port).into()).collect()
}

async fn rolled(machines: &Machines) {
    let status = ["rollout", "status", DEPLOYMENT, "--timeout=55s"];
    let said = machines.kubectl.run(&status).await;
    assert_eq!(said.code, Some(0), "{said:?}\n{}", machines.logs());
}

async fn replicas_are(machines: &Machines, count: usize) {
    eventually(&format!("there are {count} pods"), SOON_S, async || {
        let there = machines.pods_of("rolled").await.len();
        if there == count { Ok(()) } else { Err(format!("{there}\n{}", machines.logs())) }
    })
    .await;
}

pub(super) async fn lose_nothing(machines: &Machines) {
    let kubectl = &machines.kubectl;
    kubectl.ok_with(&["apply", "-f", "-"], &objects().to_string()).await;
    rolled(machines).await;
    let (pages, kept) = (addresses(machines, PAGES), addresses(machines, KEPT));
    for address in pages.iter().chain(&kept) {
        eventually("every node serves it", SOON_S, async || {
            tokio::net::TcpStream::connect(address).await.map(drop).map_err(|e| e.to_string())
        })
        .await;
    }
    let begun = Instant::now();
    let mut load = Load::new();
    load.add(8, Manner::Anew("/"), &pages);
    load.add(4, Manner::Anew("/cgi-bin/slow"), &pages);
    load.add(4, Manner::Kept, &kept);
    let mut rounds = 0;
    while rounds < ROUNDS || load.answered() < REQUESTS {
        kubectl.ok(&["set", "image", DEPLOYMENT, &format!("web={}", IMAGES[1])]).await;
        rolled(machines).await;
        kubectl.ok(&["rollout", "undo", DEPLOYMENT]).await;
        rolled(machines).await;
        kubectl.ok(&["scale", DEPLOYMENT, "--replicas=2"]).await;
        replicas_are(machines, 2).await;
        kubectl.ok(&["scale", DEPLOYMENT, "--replicas=4"]).await;
        rolled(machines).await;
        rounds += 1;
    }
    let answered = load.answered();
    let tally = load.end().await;
    println!(
        "{answered} requests in {:?}, {rounds} times rolled to another image and back and scaled: \
         {} lost; {} kept connections ended and were made again, {} questions asked once more on \
         them",
        begun.elapsed(),
        tally.failed.len(),
        tally.connections_kept,
        tally.repeated,
    );
    assert!(tally.failed.is_empty(), "{:#?}\n{}", tally.failed, machines.logs());
}
