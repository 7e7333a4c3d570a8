//! Several machines: each a network namespace with an agent that runs real containers, one with the
//! store and the API server. kubectl is on the last.

mod failures;
mod fence;
mod kills;
mod load;
mod machines;
mod rolls;
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

#[tokio::test(flavor = "multi_thread")]
async fn rolling_updates_lose_no_request() {
    // Proves that of more than 10,000 requests, through the node ports of three nodes and while real
    // pods that end on SIGTERM at once are rolled to another image and back and are scaled, none is
    // lost: on new connections, on such that wait for a slow answer, and on such that are kept.
    let Some(machines) = Machines::start("rolling_updates_lose_no_request").await else { return };
    rolls::lose_nothing(&machines).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_agent_runs_ends_before_others_begin() {
    // Proves that the replicas of an agent that was killed and does not come back have ended before
    // those in their place begin, and that what nobody starts elsewhere runs on, to be adopted.
    let test = "what_a_dead_agent_runs_ends_before_others_begin";
    let Some(mut machines) = Machines::start(test).await else { return };
    fence::an_agent_stays_dead(&mut machines).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_and_double_nothing() {
    // Proves that what was ordered while server and agents were killed again and again is what runs
    // in the end: each pod once, as many as there are to be, with the image that was asked for last.
    let Some(mut machines) = Machines::start("kills_lose_and_double_nothing").await else { return };
    kills::come_at_any_moment(&mut machines).await;
}
