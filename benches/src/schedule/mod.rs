//! How many pods a second are placed: by the planner alone, and with the store in this process.
//!
//! The workloads have the shapes of Kubernetes' scheduler_perf (the same nodes, pods and rules).
//! With the store, pods are created by clients while the scheduler places them, and the time runs
//! from the first creation to the last binding that a follower has seen. In the same process each
//! node has an agent with pretended containers: its lease is kept, its pods are started and their
//! status is written. A thousand agents share one connection and one watch of the pods
//! (`sched::agent::hollow`), and renew their leases as Kubernetes' nodes do, every 10 s.
//!
//! Start at [`run`]; the objects are in [`workloads`], the agents in [`agents`].

mod agents;
mod in_store;
mod progress;
mod workloads;

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::{Node, Pod};
use sched::scheduler::{Planner, PodKey, Strategy};

use crate::figures::percentile;
use workloads::{Scale, Workload};

#[derive(Debug, Args)]
pub(crate) struct Schedule {
    /// Numbers of nodes
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 5000])]
    nodes: Vec<usize>,
    /// Pods that are measured, where the workload does not bound them
    #[arg(long, default_value_t = 5000)]
    pods: usize,
    /// Which workloads; all by default
    #[arg(long, value_enum, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Measure the planner alone
    #[arg(long)]
    planner: bool,
    /// With the store, let nobody run the pods: nodes are objects alone
    #[arg(long)]
    without_agents: bool,
}

pub(crate) async fn run(schedule: &Schedule) -> Result<(), Box<dyn Error>> {
    let all = [Workload::Basic, Workload::NodeAffinity, Workload::AntiAffinity, Workload::Spread];
    let chosen = match schedule.workloads.as_slice() {
        [] => &all,
        chosen => chosen,
    };
    // A process has one server in its life.
    let each_apart = !schedule.planner && schedule.nodes.len() * chosen.len() > 1;
    for nodes in &schedule.nodes {
        for workload in chosen {
            if each_apart {
                in_a_process(*workload, *nodes, schedule)?;
                continue;
            }
            let scale = Scale::new(*workload, *nodes, schedule.pods);
            alone(*workload, &scale)?;
            if !schedule.planner {
                in_store::run(*workload, &scale, !schedule.without_agents).await?;
            }
        }
    }
    Ok(())
}

fn in_a_process(
    workload: Workload,
    nodes: usize,
    schedule: &Schedule,
) -> Result<(), Box<dyn Error>> {
    let workload = workload.to_possible_value().ok_or("a workload without a name")?;
    let ended = Command::new(std::env::current_exe()?)
        .args(["schedule", "--workloads", workload.get_name()])
        .args(["--nodes", &nodes.to_string(), "--pods", &schedule.pods.to_string()])
        .args(schedule.without_agents.then_some("--without-agents"))
        .status()?;
    if ended.success() { Ok(()) } else { Err(format!("the measurement ended with {ended}").into()) }
}

/// The planner with nothing around it, one pod after the other.
fn alone(workload: Workload, scale: &Scale) -> Result<(), Box<dyn Error>> {
    let nodes: Vec<Node> = (0..scale.nodes).map(|at| workload.node(at)).collect();
    let pod = |at: usize, measured: bool| workload.pod(at, measured);
    let before: Vec<Pod> = (0..scale.before).map(|at| pod(at, false)).collect();
    let measured: Vec<Pod> = (0..scale.measured).map(|at| pod(at, true)).collect();
    let mut planner = Planner::new(Strategy::default());
    nodes.iter().for_each(|node| planner.set_node(node));
    for pod in &before {
        place(&mut planner, pod)?;
    }
    let started = Instant::now();
    let mut times: Vec<Duration> = Vec::with_capacity(measured.len());
    for pod in &measured {
        let begun = Instant::now();
        place(&mut planner, pod)?;
        times.push(begun.elapsed());
    }
    let elapsed = started.elapsed();
    println!(
        "{workload}, {}: the planner alone {:.0} pods/s; p50 {}, p99 {}",
        scale.text(),
        per_second(scale.measured, elapsed),
        percentile(&mut times, 50),
        percentile(&mut times, 99),
    );
    Ok(())
}

fn place(planner: &mut Planner, pod: &Pod) -> Result<(), Box<dyn Error>> {
    planner.set_pod(pod);
    let metadata = &pod.metadata;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let key = PodKey::new(&text(&metadata.namespace), &text(&metadata.name));
    let Some(placement) = planner.place(&key) else {
        return Err(format!("{key} is not placed: {}", planner.explain(&key)).into());
    };
    planner.assume(&key, &placement.node);
    Ok(())
}

fn per_second(count: usize, elapsed: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / elapsed.as_secs_f64()
}
