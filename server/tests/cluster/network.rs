//! Networks that fail in part, and heal.

use std::time::Duration;

use testkit::{Cluster, Net, Weather, Wire, skipped, subject};

use crate::workload::Load;

/// How long a partition lasts: several elections.
const PARTITION_S: u64 = 6;

/// A network for so many members, or the line that says why there is none.
pub(crate) fn network(what: &str, members: usize) -> Option<Net> {
    Net::new(members).map_err(|why| skipped(what, &why)).ok()
}

/// Proves that clients go on while any member is alone, the leader included, and that nothing
/// diverges when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_go_on_while_one_member_is_cut_off() {
    let Some(net) = network("clients_go_on_while_one_member_is_cut_off", 3) else { return };
    let mut cluster = Cluster::start_with(subject!(), net.places(), &[]).await;
    let load = Load::start(&cluster);
    load.progress(50).await;
    let leader = cluster.leader().await;
    net.isolate(&[leader]);
    let next = cluster.leader_among(&cluster.others(leader)).await;
    load.progress(50).await;
    net.heal();
    cluster.leader().await;
    let follower = cluster.others(next)[0];
    net.isolate(&[follower]);
    load.linger(PARTITION_S).await;
    load.progress(50).await;
    net.heal();
    load.finish(&mut cluster).await;
}

/// Proves that when five members are cut into two and three, with the leader among the two, the
/// three go on, and the two follow when the network is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_of_five_go_on_without_the_leader() {
    let Some(net) = network("three_of_five_go_on_without_the_leader", 5) else { return };
    let mut cluster = Cluster::start_with(subject!(), net.places(), &[]).await;
    let load = Load::start(&cluster);
    load.progress(50).await;
    let leader = cluster.leader().await;
    let others = cluster.others(leader);
    net.isolate(&[leader, others[0]]);
    cluster.leader_among(&others[1..]).await;
    load.progress(50).await;
    net.heal();
    load.finish(&mut cluster).await;
}

/// Proves that a leader whom nobody hears, and then one who hears nobody, does not stop the
/// others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_work_one_way_only_do_not_stop_the_cluster() {
    let Some(net) = network("links_that_work_one_way_only_do_not_stop_the_cluster", 3) else {
        return;
    };
    let mut cluster = Cluster::start_with(subject!(), net.places(), &[]).await;
    let load = Load::start(&cluster);
    for mute in [true, false] {
        let leader = cluster.leader().await;
        for other in cluster.others(leader) {
            let (from, to) = if mute { (leader, other) } else { (other, leader) };
            net.cut(Wire { from, to });
        }
        load.linger(PARTITION_S).await;
        load.progress(50).await;
        net.heal();
        load.progress(50).await;
    }
    load.finish(&mut cluster).await;
}

/// Proves that a follower who cannot hear the leader, but whom the leader hears, does not keep
/// the two others from working.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_follower_does_not_stop_the_cluster() {
    let Some(net) = network("a_deaf_follower_does_not_stop_the_cluster", 3) else { return };
    let mut cluster = Cluster::start_with(subject!(), net.places(), &[]).await;
    let load = Load::start(&cluster);
    let leader = cluster.leader().await;
    let deaf = cluster.others(leader)[0];
    net.cut(Wire { from: leader, to: deaf });
    load.linger(PARTITION_S).await;
    load.progress(50).await;
    net.heal();
    load.finish(&mut cluster).await;
}

/// Proves that a link which comes and goes, and one that loses packets, cost time and nothing
/// else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flapping_link_costs_time_and_nothing_else() {
    const FLAPS: u32 = 8;
    let Some(net) = network("a_flapping_link_costs_time_and_nothing_else", 3) else { return };
    let mut cluster = Cluster::start_with(subject!(), net.places(), &[]).await;
    let load = Load::start(&cluster);
    let leader = cluster.leader().await;
    let other = cluster.others(leader)[0];
    for flap in 0..FLAPS {
        net.cut(Wire { from: leader, to: other });
        net.cut(Wire { from: other, to: leader });
        tokio::time::sleep(Duration::from_millis(200 + 150 * u64::from(flap))).await;
        net.heal();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    for to in cluster.others(leader) {
        net.lose(Wire { from: leader, to }, 0.2);
    }
    load.linger(PARTITION_S).await;
    load.progress(50).await;
    net.heal();
    load.finish(&mut cluster).await;
}

/// Proves that a network with delays and stalls below and above the time of an election costs
/// time and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_network_costs_time_and_nothing_else() {
    let (mut cluster, proxies) = Cluster::start_behind_proxies(subject!(), 3, &[]).await;
    let load = Load::start(&cluster);
    let weather = |delay, stalled| Weather { delay: Duration::from_millis(delay), stalled };
    for (delay_ms, stall_ms) in [(20, 400), (60, 800), (5, 2_500)] {
        proxies.iter().for_each(|proxy| proxy.set(weather(delay_ms, false)));
        load.progress(20).await;
        for proxy in &proxies {
            proxy.set(weather(delay_ms, true));
            tokio::time::sleep(Duration::from_millis(stall_ms)).await;
            proxy.set(weather(delay_ms, false));
        }
    }
    load.progress(20).await;
    load.finish(&mut cluster).await;
}

/// Proves the same with the kernel's own delay, jitter and loss, where it has them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delay_and_loss_by_the_kernel_cost_time_and_nothing_else() {
    const NAME: &str = "delay_and_loss_by_the_kernel_cost_time_and_nothing_else";
    let Some(net) = network(NAME, 3) else { return };
    if let Err(why) = net.disturb(30, 3) {
        return skipped(NAME, &why);
    }
    let mut cluster = Cluster::start_with(subject!(), net.places(), &[]).await;
    let load = Load::start(&cluster);
    load.linger(PARTITION_S).await;
    load.progress(50).await;
    load.finish(&mut cluster).await;
}
