//! What is not seen by commands alone: namespaces, budgets, claims, logs.

use std::path::Path;

use futures::FutureExt;
use serde_json::json;
use tempfile::TempDir;
use testkit::kubectls;

use crate::callers::{Authority, Door};
use crate::http::Http;
use crate::stage::{Stage, WEB};

#[tokio::test]
async fn a_namespace_goes_with_all_that_is_in_it() {
    // Shows that a deleted namespace takes nothing new, empties itself and is gone.
    let stage = Stage::start_with("control").await;
    stage.ok(&["create", "namespace", "team"]).await;
    stage.ok(&["-n", "team", "create", "configmap", "c"]).await;
    stage.ok(&["delete", "namespace", "team", "--timeout=50s"]).await;
    let said = stage.fails_with(&["-n", "team", "create", "configmap", "d"], "").await;
    assert!(said.contains("not found"), "{said}");
}

#[tokio::test]
async fn a_port_of_the_nodes_belongs_to_one_service() {
    // Shows that a node port is claimed, refused to another Service, and free again afterwards.
    let stage = Stage::start_with("control").await;
    let create = |name: &'static str| {
        ["create", "service", "nodeport", name, "--tcp=80:80", "--node-port=30080"]
    };
    stage.ok(&create("a")).await;
    let said = stage.fails_with(&create("b"), "").await;
    assert!(said.contains("provided port is already allocated"), "{said}");
    stage.ok(&["delete", "service", "a"]).await;
    stage.ok(&create("b")).await;
    assert!(stage.ok(&["get", "services"]).await.contains("80:30080/TCP"));
}

#[tokio::test]
async fn a_budget_holds_an_eviction_back() {
    // Shows that draining waits while a disruption budget allows nothing, and says so at once: a
    // `Retry-After` would have clients try ten times before they tell.
    let stage = Stage::start().await;
    stage.ok_with(&["apply", "-f", "-"], WEB).await;
    stage.ok(&["rollout", "status", "deploy/web", "--timeout=50s"]).await;
    stage.ok(&["create", "pdb", "all", "--selector=app=web", "--min-available=2"]).await;
    let healthy = "-o=jsonpath={.status.currentHealthy}";
    stage.shows(&["get", "pdb", "all", healthy], "2").await;
    let node = stage.ok(&["get", "nodes", "-o=jsonpath={.items[0].metadata.name}"]).await;
    let said = stage.fails_with(&["drain", &node, "--force", "--timeout=6s"], "").await;
    assert!(said.contains("disruption budget"), "{said}");
    let pod = stage.ok(&["get", "pods", "-o=jsonpath={.items[0].metadata.name}"]).await;
    let path = format!("/api/v1/namespaces/default/pods/{pod}/eviction");
    let refused = Http::new(&stage.api, &[]).post(&path, &json!({})).await;
    let refused = refused.fails(429, "TooManyRequests", "needs 2 healthy pods and has 2");
    assert!(!refused.head.contains("retry-after"), "{}", refused.head);
    assert_eq!(stage.ok(&["get", "pods"]).await.matches("Running").count(), 2);
}

#[tokio::test]
async fn logs_and_commands_reach_the_agent() {
    // Shows logs of a pod through the API server and the agent, commands likewise, by each kubectl
    // in the way that it has (WebSocket, before 1.30 SPDY), and that a node's status cannot
    // lead the API server elsewhere with the agent's token.
    let stage = Stage::start().await;
    stage.ok(&["run", "one", "--image=web:1"]).await;
    stage.ok(&["wait", "pod/one", "--for=condition=Ready", "--timeout=50s"]).await;
    stage.ok(&["logs", "one"]).await;
    let said = stage.fails_with(&["logs", "one", "-c", "other"], "").await;
    assert!(said.contains("container other is not valid for pod one"), "{said}");
    for kubectl in kubectls() {
        commands_run(&stage, &kubectl).await;
    }

    let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = stage.ok(&["get", "nodes", "-o=jsonpath={.items[0].metadata.name}"]).await;
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": trap.local_addr().unwrap().port()}},
    }});
    let path = format!("/api/v1/nodes/{node}/status");
    Http::new(&stage.api, &[]).patch(&path, &status).await.is(200);
    stage.ok(&["logs", "one"]).await;
    assert!(trap.accept().now_or_never().is_none(), "nobody came");
}

/// In the pod `one`: what they say, how they end, and that there is no such pod.
async fn commands_run(stage: &Stage, kubectl: &Path) {
    let run = async |command: &[&str]| {
        let arguments = [&["exec", "-i", "one", "--"], command].concat();
        stage.run_by(kubectl, &arguments, "not read\n").await
    };
    let said = run(&["sh", "-c", "echo here; exit 3"]).await;
    assert_eq!((said.code, &*said.stdout), (Some(3), "here\n"), "{}", said.stderr);
    let said = run(&["echo", "a b", "c"]).await;
    assert_eq!((said.code, &*said.stdout), (Some(0), "a b c\n"), "{}", said.stderr);
    let said = stage.run_by(kubectl, &["exec", "none", "--", "true"], "").await;
    assert!(said.stderr.contains("pods \"none\" not found"), "{said:?}");
}

#[tokio::test]
async fn commands_run_over_tls() {
    // Shows that both ways to run a command are there over TLS, too, for a user by certificate.
    let home = TempDir::new().unwrap();
    let authority = Authority::new(home.path(), "ours");
    let server = authority.sign("server", &[]);
    let mut caller = authority.sign("boss", &["system:masters"]).for_kubectl();
    caller.push(format!("--certificate-authority={}", authority.file()));
    let flags = vec![
        format!("--api-cert-file={}", server.cert),
        format!("--api-key-file={}", server.key),
        format!("--api-client-ca-file={}", authority.file()),
    ];
    let stage = Stage::open("all", home, &Door { flags, caller }).await;
    stage.ok(&["run", "one", "--image=web:1"]).await;
    stage.ok(&["wait", "pod/one", "--for=condition=Ready", "--timeout=50s"]).await;
    for kubectl in kubectls() {
        commands_run(&stage, &kubectl).await;
    }
}
