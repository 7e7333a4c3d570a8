//! The quick start where there is nothing that runs containers.

use std::path::Path;

use testkit::eventually;

use crate::machine::{Has, Machine, SOON_S};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_and_the_example_is_pretended() {
    // Proves that the program called without any argument, by somebody without rights and where no
    // engine listens, says at the terminal and in its log that containers are only pretended and why;
    // that kubectl shows it; and that the example rolls out all the same. And that to root it says
    // which package would do.
    let test = "what_is_missing_is_said_and_the_example_is_pretended";
    let Some(mut machine) = Machine::start(test, Has::Nothing).await else { return };
    let kubectl = machine.kubectl().await;
    for words in [
        "Pods are only pretended here, nothing runs in them, for want of a runtime",
        "containers are only pretended here, as this machine has no runtime",
        "the Docker engine at /var/run/docker.sock",
        "runc or crun: needs root",
    ] {
        is_said(&machine, words).await;
    }
    kubectl.shows(&["get", "nodes", "-o=wide"], "fake://").await;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/web.yaml");
    kubectl.ok(&["apply", "-f", &example.display().to_string()]).await;
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=50s"]).await;
    let phases = ["get", "pods", "-l=app=web", "-o=jsonpath={.items[*].status.phase}"];
    assert_eq!(kubectl.ok(&phases).await, "Running Running");
    machine.kill_berth().await;
    machine.start_berth_by(&["env", "PATH=/nowhere"]);
    is_said(&machine, "runc or crun: not in the path (Debian: apt-get install runc)").await;
}

async fn is_said(machine: &Machine, words: &str) {
    eventually(words, SOON_S, async || {
        let log = machine.log();
        if log.contains(words) { Ok(()) } else { Err(log) }
    })
    .await;
}
