//! `berth` without any argument, as the README's reader starts it.

use std::path::Path;

use api::etcdserverpb::{AuthenticateRequest, PutRequest};
use testkit::{
    Kind, Kubectl, Server, bounded, enable_auth, eventually, kubectls, subject, with_token,
};

use crate::machine::{Has, Machine, SOON_S};
use crate::names;

/// kubectl can speak to containers over WebSocket from this minor version on.
const WEBSOCKET_MINOR_MIN: u32 = 29;

/// Pods that say something: one until its end, one in a second life, two that want the same port.
const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: 'nginx:alpine', command: [sh, -c, 'for i in 1 2 3; do echo line $i; sleep 1; done']}
---
apiVersion: v1
kind: Pod
metadata: {name: lives}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: v, emptyDir: {}}]
  containers:
  - name: c
    image: nginx:alpine
    volumeMounts: [{name: v, mountPath: /v}]
    command: [sh, -c, 'if [ -e /v/seen ]; then echo life 2; exec sleep 3600; fi; echo life 1; echo > /v/seen; exit 3']
---
apiVersion: v1
kind: Pod
metadata: {name: door-a, labels: {app: door}}
spec: {containers: [{name: c, image: 'nginx:alpine', ports: [{containerPort: 80, hostPort: 8099}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: door-b, labels: {app: door}}
spec: {containers: [{name: c, image: 'nginx:alpine', ports: [{containerPort: 80, hostPort: 8099}]}]}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_quick_start_works_as_it_is_written() {
    // Proves the README's quick start on a machine of its own, with the program called without any
    // argument and real containers: the service answers by its port, and by its name, from pods that
    // were told nothing of it (whom they ask is said by their policy). And there with the real kubectl: logs that are followed to their end, those of an earlier life, commands with
    // their input, output and exit code, and two pods that want one port of the host.
    let test = "the_quick_start_works_as_it_is_written";
    let Some(mut machine) = Machine::start(test, Has::Runc).await else { return };
    let kubectl = machine.kubectl().await;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/web.yaml");
    kubectl.ok(&["apply", "-f", &example.display().to_string()]).await;
    kubectl.ok_with(&["apply", "-f", "-"], PODS).await;
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=50s"]).await;
    eventually("the service answers", SOON_S, async || {
        let page = machine.page("http://127.0.0.1:30080/").await;
        if page.stdout == "it works\n" {
            Ok(())
        } else {
            Err(format!("{page:?}\n{}", machine.log()))
        }
    })
    .await;
    names::are_found(&kubectl, &machine).await;
    logs(&kubectl).await;
    doors(&kubectl, &machine).await;
    commands(&kubectl).await;
    names::wait_for_their_port(&kubectl, &mut machine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_goes_on_without_its_agent() {
    // Proves that a server whose own agent may not reach the store any more, because authentication
    // is on, says so and serves on.
    let program = subject!();
    if program.kind == Kind::Etcd {
        // It has no agent.
        return;
    }
    let flags = ["--orchestrator=all", "--agent-runtime=fake", "--api-listen=127.0.0.1:0"];
    let mut server = Server::start(program, &flags).await;
    enable_auth(&server.clients()).await;
    server.kill();
    server.restart().await;
    eventually("it says so", SOON_S, async || {
        let log = std::fs::read_to_string(server.log_file()).unwrap_or_default();
        if log.contains("no pods run here until the agent can go on") { Ok(()) } else { Err(log) }
    })
    .await;
    let ask = AuthenticateRequest { name: "root".into(), password: "secret".into() };
    let mut clients = server.clients();
    let token = bounded(clients.auth.authenticate(ask)).await.unwrap().into_inner().token;
    let put = PutRequest { key: "a".into(), value: "1".into(), ..PutRequest::default() };
    bounded(clients.kv.put(with_token(put, Some(&token)))).await.unwrap();
}

async fn logs(kubectl: &Kubectl) {
    let phase = |phase| format!("-o=jsonpath={{.status.{phase}}}");
    let started = phase("containerStatuses[0].state");
    kubectl.shows(&["get", "pod", "talker", &started], "startedAt").await;
    assert_eq!(kubectl.ok(&["logs", "-f", "talker"]).await, "line 1\nline 2\nline 3\n");
    kubectl.shows(&["get", "pod", "talker", &phase("phase")], "Succeeded").await;
    assert_eq!(kubectl.ok(&["logs", "--tail=1", "talker"]).await, "line 3\n");
    kubectl.shows(&["logs", "lives"], "life 2").await;
    assert_eq!(kubectl.ok(&["logs", "--previous", "lives"]).await, "life 1\n");
}

/// One has the port and answers, the other waits and says why.
async fn doors(kubectl: &Kubectl, machine: &Machine) {
    let phases = ["get", "pods", "-l=app=door", "-o=jsonpath={.items[*].status.phase}"];
    eventually("one runs and one waits", SOON_S, async || {
        let seen = kubectl.ok(&phases).await;
        if ["Running Pending", "Pending Running"].contains(&&*seen) { Ok(()) } else { Err(seen) }
    })
    .await;
    kubectl.shows(&["describe", "pods", "-l=app=door"], "didn't have free ports").await;
    eventually("the port of the host answers", SOON_S, async || {
        let page = machine.page("http://127.0.0.1:8099/").await;
        if page.stdout == "it works\n" {
            Ok(())
        } else {
            Err(format!("{page:?}\n{}", machine.log()))
        }
    })
    .await;
}

/// By each kubectl, over WebSocket where it knows how to, and over SPDY.
async fn commands(kubectl: &Kubectl) {
    for program in kubectls() {
        let kubectl = kubectl.by(&program);
        let minor = kubectl.minor().await;
        if minor >= WEBSOCKET_MINOR_MIN {
            talk(&kubectl).await;
        }
        let kubectl = kubectl.over_spdy();
        talk(&kubectl).await;
        copy(&kubectl).await;
    }
}

async fn talk(kubectl: &Kubectl) {
    let script = "cat; hostname; echo complaint >&2; exit 7";
    let command = ["exec", "-i", "lives", "--", "sh", "-c", script];
    let said = kubectl.run_with(&command, "from here\n").await;
    assert_eq!((said.code, &*said.stdout), (Some(7), "from here\nlives\n"), "{}", said.stderr);
    assert!(said.stderr.contains("complaint"), "{}", said.stderr);
    assert_eq!(kubectl.ok(&["exec", "lives", "--", "echo", "a b", "*"]).await, "a b *\n");
    let said = kubectl.run(&["exec", "lives", "--", "/no/such/program"]).await;
    assert_ne!(said.code, Some(0), "{said:?}");
    let said = kubectl.run(&["exec", "lives", "-c", "none", "--", "true"]).await;
    assert!(said.stderr.contains("container none is not valid"), "{said:?}");
    // More each way than what waits in pipes, or than a window of SPDY that nobody has asked for.
    let long = "0123456789abcde\n".repeat(20_000);
    let said = kubectl.run_with(&["exec", "-i", "lives", "--", "cat"], &long).await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stdout == long, "{} bytes came back", said.stdout.len());
    // What nobody reads keeps nobody, and takes nothing with it.
    let command = ["exec", "-i", "lives", "--", "sh", "-c", "echo enough; exit 3"];
    let said = kubectl.run_with(&command, &long).await;
    assert_eq!((said.code, &*said.stdout), (Some(3), "enough\n"), "{}", said.stderr);
}

/// A directory goes into the container and comes out again.
async fn copy(kubectl: &Kubectl) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::create_dir(path("in")).unwrap();
    std::fs::write(path("in/note"), "copied\n").unwrap();
    kubectl.ok(&["cp", &path("in"), "lives:/v/in"]).await;
    kubectl.ok(&["cp", "lives:/v/in", &path("out")]).await;
    assert_eq!(std::fs::read_to_string(path("out/note")).unwrap(), "copied\n");
    kubectl.ok(&["exec", "lives", "--", "rm", "-r", "/v/in"]).await;
}
