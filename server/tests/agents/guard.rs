//! An agent of a Docker engine that is killed, while engine and store go on.

use std::time::Duration;

use serde_json::json;
use testkit::{Kubectl, eventually, processes};
use tokio::process::Child;

use crate::machine::{Has, Machine, SOON_S};
use crate::remains;

/// Long enough for a busy machine to be back in.
const LEASE_TTL: &str = "18s";
/// What a guard and an engine take for an end.
const ENDS: Duration = Duration::from_secs(3);
/// Names, and whether what is in them is ready.
const PODS: &str = "-o=jsonpath={range .items[*]}{.metadata.name} \
    {.status.containerStatuses[0].ready}{\"\\n\"}{end}";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_agent_runs_in_docker_ends_before_its_lease() {
    // Proves with a real engine that containers of an agent which is killed and comes back in time
    // are adopted, and run on beyond the time that they had; that a guard which is killed is started
    // again, and that there is never more than one; that replicas of an agent that stays dead have
    // ended before others are there in their place, while what nobody starts elsewhere runs on, to
    // be adopted.
    let test = "what_a_dead_agent_runs_in_docker_ends_before_its_lease";
    let Some(machine) = Machine::bare(test, Has::Engine).await else { return };
    let _server = machine.beside(&["serve", "--orchestrator=control"]);
    let agent = start_agent(&machine);
    let kubectl = machine.kubectl().await;
    kubectl.ok(&["create", "deployment", "moving", "--image=nginx:alpine"]).await;
    let staying = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "staying", "labels": {"app": "staying"}},
        "spec": {"containers": [{"name": "c", "image": "nginx:alpine"}]},
    });
    kubectl.ok_with(&["apply", "-f", "-"], &staying.to_string()).await;
    let moving = ready(&machine, &kubectl, "moving").await;
    ready(&machine, &kubectl, "staying").await;
    let before = (running(&machine, "moving").await, running(&machine, "staying").await);
    assert_eq!((before.0.len(), before.1.len()), (1, 1), "{before:?}");

    let agent = is_back_in_time(&machine, agent).await;
    let after = (running(&machine, "moving").await, running(&machine, "staying").await);
    assert_eq!(after, before, "{}", machine.log_beside());
    a_guard_is_replaced(&machine).await;

    stop(agent).await;
    eventually("another pod is there in its place", SOON_S, async || {
        let pods = kubectl.ok(&["get", "pods", "-l=app=moving", "-o=name"]).await;
        let others = pods.lines().filter(|line| !line.ends_with(&moving)).count();
        if others == 1 { Ok(()) } else { Err(format!("{pods}\n{}", machine.log_beside())) }
    })
    .await;
    let left = running(&machine, "moving").await;
    assert!(left.is_empty(), "{left:?} runs beside what is started in its place");
    assert_eq!(running(&machine, "staying").await, before.1, "nobody starts it elsewhere");

    let _agent = start_agent(&machine);
    eventually("the other one runs", SOON_S, async || {
        let now = running(&machine, "moving").await;
        if now.len() == 1 && now != before.0 { Ok(()) } else { Err(machine.log_beside()) }
    })
    .await;
    let restarts = "-o=jsonpath={.status.containerStatuses[0].restartCount}";
    assert_eq!(kubectl.ok(&["get", "pod", "staying", restarts]).await, "0");
    assert_eq!(running(&machine, "staying").await, before.1, "it was adopted as it is");
}

fn start_agent(machine: &Machine) -> Child {
    let root = machine.root().display().to_string();
    let join = ["agent", "--join=http://127.0.0.1:2379", "--runtime=docker", "--node=n1"];
    machine.beside(&[&join[..], &["--root", &root, "--lease-ttl", LEASE_TTL]].concat())
}

/// As a crash would; what it runs goes on.
async fn stop(mut agent: Child) {
    agent.kill().await.unwrap();
}

/// Kills the agent and starts it again; resolves when the time is over that its containers had.
async fn is_back_in_time(machine: &Machine, agent: Child) -> Child {
    let guard = guard(machine).await;
    stop(agent).await;
    let until = remains::docker_fence(&machine.root()).expect("it was said");
    let agent = start_agent(machine);
    eventually("that time is over", SOON_S, async || {
        let now = remains::since_boot();
        // And what would end with it would have, too.
        if now > until + ENDS { Ok(()) } else { Err(format!("it is {now:?} of {until:?}")) }
    })
    .await;
    assert_ne!(self::guard(machine).await, guard, "another agent has another guard");
    agent
}

async fn a_guard_is_replaced(machine: &Machine) {
    let guard = guard(machine).await;
    let killed = machine.run("kill", "procps", &["-KILL", &guard.to_string()]).await;
    assert_eq!(killed.code, Some(0), "{killed:?}");
    eventually("another guard is there", SOON_S, async || {
        let now = guards(machine);
        if now.len() == 1 && now[0] != guard { Ok(()) } else { Err(format!("{guard}, {now:?}")) }
    })
    .await;
}

/// The process id of the one that there is.
async fn guard(machine: &Machine) -> u32 {
    eventually("there is one guard", SOON_S, async || match &guards(machine)[..] {
        [guard] => Ok(*guard),
        several => Err(format!("{several:?}")),
    })
    .await
}

/// All processes that guard what this machine's agent runs.
fn guards(machine: &Machine) -> Vec<u32> {
    let words = format!("container guard {} ", machine.root().join("docker").display());
    processes(|line| line.contains(&words))
}

/// The name of the one pod of an app, once that is ready.
async fn ready(machine: &Machine, kubectl: &Kubectl, app: &str) -> String {
    let selector = format!("-l=app={app}");
    eventually(&format!("{app} is ready"), SOON_S, async || {
        let pods = kubectl.ok(&["get", "pods", &selector, PODS]).await;
        match pods.trim().strip_suffix(" true") {
            Some(name) => Ok(name.to_owned()),
            None => Err(format!("{pods}\n{}", machine.log_beside())),
        }
    })
    .await
}

/// The containers that run for an app, pause containers aside.
async fn running(machine: &Machine, app: &str) -> Vec<String> {
    let names = ["ps", "--no-trunc", "--filter=label=dev.berth.container", "--format"];
    let said = machine.docker(&[&names[..], &["{{.ID}} {{.Names}}"]].concat()).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let is_of = |line: &&str| line.contains(&format!("_{app}"));
    said.stdout.lines().filter(is_of).map(str::to_owned).collect()
}
