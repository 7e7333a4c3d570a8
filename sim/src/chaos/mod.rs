//! The same questions to real processes: a cluster of `berth` binaries in network namespaces, with
//! kills, stops, partitions, full disks, failing syncs and, in a build that has them, failpoints.
//!
//! Nothing is decided by a seed here but what is tried: the machine does the rest. What clients were
//! told is judged by the oracles of the simulator; what the members hold, by their own hashes.
//!
//! Start at [`run`]; the faults are in `faults.rs`, who uses the cluster in `clients.rs`.

mod clients;
mod compactions;
mod disks;
mod faults;
mod gofail;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::{Cluster, Net, Place, Program};
use tokio::sync::Mutex;

use crate::chance::Chance;
use crate::history::History;
use crate::log::Log;
use crate::oracle;
pub use report::Report;

/// Traffic before the first fault, to see whether the run counts.
const WARM_UP: Duration = Duration::from_secs(4);
/// Fewer answers a second than this before the first fault, and the run shows nothing.
pub const OPERATIONS_PER_S_MIN: u64 = 100;
/// How long the watchers may take to hear of everything.
const WATCH_MAX: Duration = Duration::from_secs(60);
/// How long leases that nobody keeps alive are waited for.
const LEASES: Duration = Duration::from_secs(14);

/// What is run, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    pub berth: PathBuf,
    pub members: usize,
    pub faults: Duration,
    pub seed: u64,
}

/// What all tasks of one run share.
#[derive(Clone)]
struct Scene {
    chance: Chance,
    history: History,
    /// The client URLs.
    endpoints: Arc<[String]>,
    started: Instant,
}

impl Scene {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Runs the cluster under faults and judges what came of it.
///
/// # Errors
/// The cluster could not be made, in words.
pub async fn run(options: &Options) -> Result<Report, String> {
    let chance = Chance::new(options.seed);
    let mut report = Report::new(options);
    let net = Net::new(options.members).map_err(|why| report.missing("network namespaces", why));
    let places = match &net {
        Ok(net) => net.places(),
        Err(()) => (0..options.members).map(|_| Place::loopback()).collect(),
    };
    let flags = ["--heartbeat-interval=50", "--election-timeout=500"];
    let program = Program::subject(&options.berth.to_string_lossy());
    let mut cluster = Cluster::prepare(program, places, &flags).await;
    let disks = disks::Disks::prepare(&mut cluster, &mut report);
    gofail::prepare(&mut cluster);
    cluster.launch();
    for at in 0..options.members {
        cluster.member_mut(at).wait_serving().await;
    }
    let endpoints = cluster.endpoints().into();
    let history = History::new(Log::new(false));
    let scene = Scene { chance, history, endpoints, started: Instant::now() };

    let crowd = clients::Crowd::start(&scene);
    tokio::time::sleep(WARM_UP).await;
    report.operations_per_s = crowd.answered() / WARM_UP.as_secs();
    let cluster = Arc::new(Mutex::new(cluster));
    let faults = faults::Faults::new(&scene, cluster.clone(), net.ok(), disks);
    faults.run(options.faults, &mut report).await;

    crowd.stop_writing().await;
    tokio::time::sleep(LEASES).await;
    let end = cluster.lock().await.converged().await;
    if !clients::read_all(&scene).await {
        report.violations.push("liveness: a member cannot be read in the end".to_owned());
    }
    report.served = crowd.follow_to(end, WATCH_MAX).await;
    crowd.stop().await;
    judge(&scene, end, &mut report);
    Ok(report)
}

fn judge(scene: &Scene, end: i64, report: &mut Report) {
    let told = scene.history.truth.lock().last_revision();
    if told != end {
        report.violations.push(format!("watches: told of r{told}, and the members are at r{end}"));
    }
    if let Some(what) = oracle::unserved(&scene.history) {
        report.violations.push(format!("watches: {what}"));
    }
    let found = oracle::findings(&scene.history, scene.now_ns());
    report.violations.extend(found.into_iter().map(|(of, what)| format!("{of}: {what}")));
    report.count(&scene.history);
}
