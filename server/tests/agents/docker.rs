//! The quick start where a Docker engine listens.

use std::path::Path;

use testkit::{Kubectl, eventually, skipped};

use crate::machine::{Has, Machine, SOON_S};
use crate::remains;

/// Pods of the example, with their container's id and how often it was started again.
const CONTAINERS: &str = "-o=jsonpath={range .items[*]}{.metadata.name} \
    {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount} \
    {.status.containerStatuses[0].ready}{\"\\n\"}{end}";

#[tokio::test(flavor = "multi_thread")]
async fn docker_runs_what_is_applied() {
    // Proves the README's quick start where a Docker engine listens, with the program called without
    // any argument: it takes the engine; the example answers, by its name from a pod, too; logs,
    // commands with their input, output and exit code; containers adopted after a kill; one that is
    // killed is started again; and that nothing is left of what is deleted.
    let test = "docker_runs_what_is_applied";
    let Some(mut machine) = Machine::start(test, Has::Engine).await else { return };
    let kubectl = machine.kubectl().await;
    kubectl.shows(&["get", "nodes", "-o=wide"], "docker://").await;
    assert!(machine.log().contains("Pods run here by docker."), "{}", machine.log());
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/web.yaml");
    let example = example.display().to_string();
    kubectl.ok(&["apply", "-f", &example]).await;
    let status = ["rollout", "status", "deployment/web", "--timeout=50s"];
    kubectl.shows(&status, "successfully rolled out").await;
    answers(&machine).await;
    speaks(&kubectl).await;

    let before = containers(&kubectl).await;
    assert_eq!(before.lines().filter(|line| line.ends_with(" 0 true")).count(), 2, "{before}");
    machine.kill_berth().await;
    let until = remains::docker_fence(&machine.root()).expect("containers of a Deployment run");
    machine.start_berth();
    let is_in_time =
        eventually("the agent is back", SOON_S, async || {
            match remains::docker_fence(&machine.root()) {
                Some(now) if now > until => Ok(remains::since_boot() < until),
                still => Err(format!("{still:?}")),
            }
        });
    if !is_in_time.await {
        return skipped(test, "the agent was not back before its lease ended, nor its containers");
    }
    // What begins after has been seen by an agent that has looked at the others, too.
    kubectl.shows(&["get", "namespace"], "default").await;
    run(&kubectl, "beside", &["sleep", "3600"]).await;
    kubectl.ok(&["wait", "pod/beside", "--for=condition=Ready", "--timeout=50s"]).await;
    assert_eq!(containers(&kubectl).await, before);
    answers(&machine).await;

    let victim = before.split("docker://").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let killed = machine.docker(&["kill", victim]).await;
    assert_eq!(killed.code, Some(0), "{killed:?}");
    eventually("the container that was killed runs again", SOON_S, async || {
        let now = containers(&kubectl).await;
        let is_again = now.lines().filter(|line| line.ends_with(" 1 true")).count() == 1;
        if is_again && !now.contains(victim) { Ok(()) } else { Err(now) }
    })
    .await;
    kubectl.ok(&["delete", "-f", &example, "--timeout=50s"]).await;
    kubectl.ok(&["delete", "pod", "--all", "--timeout=50s"]).await;
    eventually("nothing is left in the engine", SOON_S, async || {
        let left = machine.docker(&["ps", "--all", "--format={{.Names}}"]).await.stdout;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

async fn run(kubectl: &Kubectl, name: &str, command: &[&str]) {
    let run = ["run", name, "--image=nginx:alpine", "--restart=Never", "--command", "--"];
    kubectl.ok(&[&run, command].concat()).await;
}

async fn containers(kubectl: &Kubectl) -> String {
    kubectl.ok(&["get", "pods", "-l=app=web", CONTAINERS]).await
}

async fn answers(machine: &Machine) {
    eventually("the service answers", SOON_S, async || {
        let page = machine.page("http://127.0.0.1:30080/").await;
        let is_right = page.stdout == "it works\n";
        if is_right { Ok(()) } else { Err(format!("{page:?}\n{}", machine.log())) }
    })
    .await;
}

/// Logs, commands, and the Service's name.
async fn speaks(kubectl: &Kubectl) {
    run(kubectl, "talker", &["sh", "-c", "for i in 1 2 3; do echo line $i; sleep 1; done"]).await;
    let started = "-o=jsonpath={.status.containerStatuses[0].state}";
    kubectl.shows(&["get", "pod", "talker", started], "startedAt").await;
    assert_eq!(kubectl.ok(&["logs", "-f", "talker"]).await, "line 1\nline 2\nline 3\n");
    let command = ["exec", "-i", "deploy/web", "--", "sh", "-c", "cat; exit 7"];
    let said = kubectl.run_with(&command, "from here\n").await;
    assert_eq!((said.code, &*said.stdout), (Some(7), "from here\n"), "{}", said.stderr);
    let address = ["get", "service", "web", "-o=jsonpath={.spec.clusterIP}"];
    let address = kubectl.ok(&address).await;
    let ask = ["exec", "deploy/web", "--", "nslookup", "-type=a", "web"];
    kubectl.shows(&ask, &address).await;
}
