//! What goes wrong with machines.

use std::collections::BTreeSet;
use std::time::Instant;

use testkit::eventually;

use super::machines::{Machines, SOON_S};
use super::seeds::{node, settle};
use crate::remains::{self, Remains};
use crate::scene::{first, is_ready};

fn running(machines: &Machines, number: usize) -> BTreeSet<(String, i64)> {
    let all = remains::containers(&machines.nodes[number].root).into_iter();
    all.filter(|one| one.ended.is_none()).map(|one| (one.pod, one.pid)).collect()
}

/// The containers of the first node are the same, with the same process numbers, when another agent
/// has taken them over and has begun another beside them.
pub(super) async fn an_agent_is_killed(machines: &mut Machines) {
    let before = running(machines, 0);
    assert!(!before.is_empty());
    machines.kill_agent(0).await;
    machines.start_agent(0);
    let name = &machines.nodes[0].name;
    let overrides = format!(r#"{{"apiVersion":"v1","spec":{{"nodeName":"{name}"}}}}"#);
    let image = "--image=centos-master:5000/eureka:2";
    let run = ["run", "beside", image, "--restart=Never", "--overrides", &overrides];
    machines.kubectl.ok(&run).await;
    let ready = ["wait", "pod/beside", "--for=condition=Ready", "--timeout=50s"];
    machines.kubectl.ok(&ready).await;
    let mut after = running(machines, 0);
    after.retain(|(pod, _)| pod != "beside");
    assert_eq!(after, before);
    for pod in settle(machines, 5).await {
        assert_eq!(first(&pod).unwrap().restart_count, 0);
    }
    machines.kubectl.ok(&["delete", "pod", "beside", "--timeout=50s"]).await;
}

/// The second machine dies with all that runs there, the third is cut off: all replicas are on the
/// first, and what ran on the third had ended before any began in its place. When both are back
/// there is no other.
pub(super) async fn one_machine_dies_and_one_is_cut_off(machines: &mut Machines) {
    let replicas = machines.pods().await.len();
    let cut_before = running(machines, 2);
    let first_before = running(machines, 0);
    let lost = |number: usize, all: &[k8s_openapi::api::core::v1::Pod]| {
        all.iter().filter(|pod| node(pod) == machines.nodes[number].name).count()
    };
    let pods: Vec<_> = machines.pods().await.into_iter().map(|one| one.object).collect();
    let (dead, cut) = (lost(1, &pods), lost(2, &pods));
    assert!(dead > 0 && cut > 0);
    let begun = Instant::now();
    machines.kill_agent(1).await;
    remains::end_all(&machines.nodes[1].root);
    machines.net.unplug(machines.nodes[2].at);
    let own = machines.nodes[0].name.clone();
    let mut after_death = None;
    eventually("all replicas run on the node that is left", SOON_S, async || {
        let pods = machines.pods().await;
        let here = pods.iter().filter(|pod| node(pod) == own && is_ready(pod)).count();
        if here >= replicas - cut {
            after_death.get_or_insert_with(|| begun.elapsed());
        }
        if here == replicas { Ok(()) } else { Err(machines.logs()) }
    })
    .await;
    println!(
        "a machine dies with {dead} replicas, and one with {cut} is cut off (its lease is 12 s): as \
         many run as before the second after {after_death:?}, all after {:?}",
        begun.elapsed()
    );
    let ends: Vec<Remains> = remains::containers(&machines.nodes[2].root);
    let ends = ends.into_iter().filter(|one| cut_before.contains(&(one.pod.clone(), one.pid)));
    let ends: Vec<_> =
        ends.map(|one| one.ended.expect("a replica that was cut off has ended")).collect();
    assert_eq!(ends.len(), cut_before.len());
    let mut begins: Vec<_> = remains::containers(&machines.nodes[0].root)
        .into_iter()
        .filter(|one| !first_before.contains(&(one.pod.clone(), one.pid)))
        .map(|one| one.started)
        .collect();
    begins.sort_unstable();
    // As many as died may begin before.
    let instead = begins[dead];
    assert!(ends.iter().all(|end| *end <= instead), "{ends:?} and then {begins:?}");

    machines.net.plug(machines.nodes[2].at);
    machines.start_agent(1);
    machines.are_ready().await;
    let pods = settle(machines, replicas).await;
    assert!(pods.iter().all(|pod| node(pod) == own), "none was moved again");
    for number in [1, 2] {
        eventually("nothing is left of the old ones", SOON_S, async || {
            let left = remains::containers(&machines.nodes[number].root);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }
}
