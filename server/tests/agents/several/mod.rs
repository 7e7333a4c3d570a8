//! Several machines: each a network namespace with an agent that runs real containers, one with the
//! store and the API server. kubectl is on the last.

mod failures;
mod machines;
mod seeds;
mod services;

use machines::Machines;

#[tokio::test(flavor = "multi_thread")]
async fn pods_outlive_agents_networks_and_machines() {
    // Proves the seeds' flow with real containers on three nodes; Services reached by ClusterIP and
    // NodePort from every node, by name from a pod on each, and kept to it by the policy Local;
    // containers adopted after a kill
    // of the agent; replicas of a machine that dies and of one that is cut off begun elsewhere, the
    // latter not before they have ended; and nothing doubled when both are back.
    let test = "pods_outlive_agents_networks_and_machines";
    let Some(mut machines) = Machines::start(test).await else { return };
    seeds::files_run(&machines).await;
    services::are_reached_from_everywhere(&machines).await;
    failures::an_agent_is_killed(&mut machines).await;
    failures::one_machine_dies_and_one_is_cut_off(&mut machines).await;
}
