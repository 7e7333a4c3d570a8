//! What goes wrong, one fault after the other.

use std::sync::Arc;
use std::time::Duration;

use testkit::{Cluster, Net, Wire};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::disks::Disks;
use super::{Report, Scene, gofail};

/// How long a member may take to notice that it cannot go on, and to end.
const END_MAX: Duration = Duration::from_secs(10);
/// Under load a member syncs all the time: this must not be.
const SYNC_UNNOTICED: &str = "FailingSync, unnoticed";
const GOES_ON: &str = "durability: a member goes on though its disk cannot sync";

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    KillLeader,
    KillAll,
    Pause,
    PauseLeader,
    Isolate,
    IsolateLeader,
    Split,
    OneWay,
    FullDisk,
    FailingSync,
    Failpoint,
}

const FAULTS: [Fault; 12] = [
    Fault::Kill,
    Fault::KillLeader,
    Fault::KillAll,
    Fault::Pause,
    Fault::PauseLeader,
    Fault::Isolate,
    Fault::IsolateLeader,
    Fault::Split,
    Fault::OneWay,
    Fault::FullDisk,
    Fault::FailingSync,
    Fault::Failpoint,
];

pub(super) struct Faults {
    scene: Scene,
    cluster: Arc<Mutex<Cluster>>,
    net: Option<Net>,
    disks: Disks,
}

impl Faults {
    pub(super) fn new(
        scene: &Scene,
        cluster: Arc<Mutex<Cluster>>,
        net: Option<Net>,
        disks: Disks,
    ) -> Faults {
        Faults { scene: scene.clone(), cluster, net, disks }
    }

    /// Each kind in turn, in an order that the seed decides, until the time is over; then all serve.
    pub(super) async fn run(&self, time: Duration, report: &mut Report) {
        let end = Instant::now() + time;
        let mut order = FAULTS.to_vec();
        while Instant::now() < end {
            self.scene.chance.shuffle(&mut order);
            for fault in &order {
                if Instant::now() >= end {
                    break;
                }
                if let Some(what) = self.make(*fault).await {
                    report.fired(&what);
                    if what == SYNC_UNNOTICED {
                        report.violations.push(GOES_ON.to_owned());
                    }
                }
                self.all_serve().await;
                sleep(self.scene.chance.millis(100..800)).await;
            }
        }
    }

    /// What was done, if it could be.
    async fn make(&self, fault: Fault) -> Option<String> {
        let mut cluster = self.cluster.lock().await;
        let count = cluster.len();
        let any = self.scene.chance.index(count);
        match fault {
            Fault::Kill => cluster.member_mut(any).kill(),
            Fault::KillLeader => {
                let leader = cluster.leader().await;
                cluster.member_mut(leader).kill();
            }
            Fault::KillAll => (0..count).for_each(|at| cluster.member_mut(at).kill()),
            Fault::Pause => self.pause(&cluster, any).await,
            Fault::PauseLeader => {
                let leader = cluster.leader().await;
                self.pause(&cluster, leader).await;
            }
            Fault::Isolate => self.cut(|net| net.isolate(&[any])).await?,
            Fault::IsolateLeader => {
                let leader = cluster.leader().await;
                self.cut(|net| net.isolate(&[leader])).await?;
            }
            Fault::Split => {
                let half: Vec<usize> = (0..count / 2).map(|at| (any + at) % count).collect();
                self.cut(|net| net.isolate(&half)).await?;
            }
            Fault::OneWay => {
                let others = cluster.others(any);
                self.cut(|net| others.iter().for_each(|to| net.cut(Wire { from: any, to: *to })))
                    .await?;
            }
            Fault::FullDisk => return self.full_disk(&mut cluster, any).await,
            Fault::FailingSync => return self.failing_sync(&mut cluster, any).await,
            Fault::Failpoint => return self.failpoint(&mut cluster, any).await,
        }
        sleep(self.scene.chance.millis(100..1500)).await;
        Some(format!("{fault:?}"))
    }

    /// Longer than an election.
    async fn pause(&self, cluster: &Cluster, at: usize) {
        cluster.member(at).suspend();
        sleep(self.scene.chance.millis(800..3500)).await;
        cluster.member(at).resume();
    }

    async fn cut(&self, cut: impl FnOnce(&Net)) -> Option<()> {
        let net = self.net.as_ref()?;
        cut(net);
        sleep(self.scene.chance.millis(800..4000)).await;
        net.heal();
        Some(())
    }

    /// A member that cannot write stops; there is room again when it is started anew.
    async fn full_disk(&self, cluster: &mut Cluster, at: usize) -> Option<String> {
        if !self.disks.fill(at) {
            return None;
        }
        let ended = ends(cluster, at).await;
        cluster.member_mut(at).kill();
        self.disks.empty(at);
        Some(if ended { "FullDisk" } else { "FullDisk, unnoticed" }.to_owned())
    }

    /// Whatever the sync did not write is lost to it: it must stop, not try again.
    async fn failing_sync(&self, cluster: &mut Cluster, at: usize) -> Option<String> {
        if !self.disks.break_syncs(at) {
            return None;
        }
        let ended = ends(cluster, at).await;
        cluster.member_mut(at).kill();
        self.disks.mend(at);
        Some(if ended { "FailingSync" } else { SYNC_UNNOTICED }.to_owned())
    }

    async fn failpoint(&self, cluster: &mut Cluster, at: usize) -> Option<String> {
        let names = gofail::names(cluster.member(at));
        let name = names.get(self.scene.chance.index(names.len().max(1)))?;
        if !gofail::crash_at(cluster.member(at), name) {
            return None;
        }
        let ended = ends(cluster, at).await;
        cluster.member_mut(at).kill();
        Some(if ended { format!("Failpoint {name}") } else { "Failpoint, not passed".to_owned() })
    }

    async fn all_serve(&self) {
        let mut cluster = self.cluster.lock().await;
        for at in 0..cluster.len() {
            if !cluster.member_mut(at).is_running() {
                cluster.member_mut(at).launch();
            }
        }
        for at in 0..cluster.len() {
            cluster.member_mut(at).wait_serving().await;
        }
    }
}

/// True if the member ends by itself, soon.
async fn ends(cluster: &mut Cluster, at: usize) -> bool {
    let end = Instant::now() + END_MAX;
    while Instant::now() < end {
        if !cluster.member_mut(at).is_running() {
            return true;
        }
        sleep(Duration::from_millis(50)).await;
    }
    false
}
