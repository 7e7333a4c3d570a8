//! One run: a cluster, its clients, faults for a while, then none, and the judgement.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use openraft_rt::AsyncRuntime;

use crate::chance::Chance;
use crate::clients::{self, Stop};
use crate::cluster::{Asked, Cluster};
use crate::nemesis::Nemesis;
use crate::oracle::{self, Lookout};
use crate::plan::Plan;
use crate::runtime::{Simulated, world_ns};
use crate::world::{Violation, World};

/// How long the members may take to serve again, once the faults are over.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// How long the watchers may take to hear of everything.
const WATCH_MAX: Duration = Duration::from_secs(60);
/// How long leases that nobody keeps alive are waited for.
const LEASES: Duration = Duration::from_secs(40);
/// How often the members are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What one seed came to.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    pub violations: Vec<Violation>,
    pub counts: BTreeMap<&'static str, u64>,
    /// Lines of the log, and their checksum: the same for the same seed.
    pub digest: (u64, u32),
    pub log: Vec<String>,
    /// Of the simulated world.
    pub seconds: u64,
}

/// Runs one seed from its beginning to its end.
pub fn run(seed: u64, keep_log: bool) -> Report {
    crate::panics::forget();
    let world = World::new(seed, keep_log);
    let mut runtime = Simulated::new(seed);
    let within = world.clone();
    // A panic is noted where it happens, and the world ends with it.
    let seconds = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async move {
            Run::new(seed, within).go().await;
            world_ns() / 1_000_000_000
        })
    }));
    let ended = catch_unwind(AssertUnwindSafe(|| drop(runtime)));
    let seconds = seconds.and_then(|seconds| ended.map(|()| seconds)).unwrap_or_default();
    for panic in crate::panics::take() {
        world.violation("no panic", panic);
    }
    Report {
        seed,
        violations: world.violations(),
        counts: world.counts(),
        digest: world.log.digest(),
        log: world.log.take(),
        seconds,
    }
}

struct Run {
    world: World,
    plan: Plan,
    cluster: Cluster,
}

impl Run {
    fn new(seed: u64, world: World) -> Run {
        let plan = Plan::draw(&Chance::new(seed.rotate_left(32)));
        world.log.line(format_args!("seed {seed}: {plan:?}"));
        let cluster = Cluster::new(world.clone(), plan.clone());
        Run { world, plan, cluster }
    }

    async fn go(&self) {
        for id in self.cluster.ids() {
            self.cluster.start(id);
        }
        let (looking, writing, watching) = (Stop::default(), Stop::default(), Stop::default());
        drop(Simulated::spawn(look_out(self.cluster.clone(), looking.clone())));
        clients::start(&self.cluster, &self.plan, &writing, &watching);
        Simulated::sleep(Duration::from_secs(4)).await;

        let nemesis = Nemesis::new(self.cluster.clone(), self.plan.clone());
        self.world.network.set_weather(self.plan.weather);
        drop(Simulated::spawn(nemesis.clone().run()));
        Simulated::sleep(self.plan.faults).await;
        nemesis.end();
        self.world.log.line(format_args!("no more faults"));

        let recovered = self.recover().await;
        writing.stop();
        Simulated::sleep(LEASES).await;
        if recovered {
            self.check_equal().await;
            self.wait_for_watchers().await;
        }
        watching.stop();
        looking.stop();
        Simulated::sleep(Duration::from_secs(4)).await;
        self.world.add("messages delivered", self.world.network.delivered());
        oracle::judge(&self.world, world_ns());
    }

    /// Every member serves again, and what it is told is done.
    async fn recover(&self) -> bool {
        let mut left = self.cluster.members();
        let end_ns = world_ns() + u64::try_from(RECOVERY_MAX.as_nanos()).expect("a minute");
        while !left.is_empty() && world_ns() < end_ns {
            let id = left[0];
            self.cluster.start(id);
            let ready = self
                .cluster
                .ask(id, Duration::from_secs(5), |node| async move { node.ready().await.is_ok() });
            if matches!(ready.await, Asked::Answered(true)) {
                left.remove(0);
            } else {
                left.rotate_left(1);
                Simulated::sleep(Duration::from_millis(200)).await;
            }
        }
        if !left.is_empty() {
            let what =
                format!("members {left:?} do not serve {RECOVERY_MAX:?} after the last fault");
            self.world.violation("liveness", what);
        }
        left.is_empty()
    }

    /// After a barrier at each, all members hold the same.
    async fn check_equal(&self) {
        let ids = self.cluster.members();
        clients::keys::read_all(&self.cluster, &self.plan, &ids).await;
        let mut states = BTreeMap::new();
        for id in ids {
            let asked = self.cluster.ask(id, Duration::from_secs(10), |node| async move {
                node.linearizable().await.ok()?;
                let reader = node.reader();
                let hash = reader.hash_kv(0).ok()?;
                Some((hash.hash_revision, hash.hash, reader.hash().ok()?, reader.leases().len()))
            });
            match asked.await {
                Asked::Answered(Some(state)) => {
                    states.insert(id, state);
                }
                _ => self.world.violation("liveness", format!("member {id} cannot be read")),
            }
        }
        let distinct: std::collections::BTreeSet<_> = states.values().collect();
        if distinct.len() > 1 {
            self.world.violation("equal states", format!("in the end: {states:?}"));
        }
        if let Some((id, state)) = states.iter().find(|(_, state)| state.3 > 0) {
            let what = format!("member {id} has {} that nobody keeps alive", state.3);
            self.world.violation("leases", what);
        }
        let last = self.world.history.truth.lock().last_revision();
        if let Some((id, state)) = states.iter().find(|(_, state)| state.0 != last) {
            let what = format!("member {id} ends at revision {}, of {last}", state.0);
            self.world.violation("linearizability", what);
        }
    }

    /// Every watch hears of the last change of its keys.
    async fn wait_for_watchers(&self) {
        let mut left = WATCH_MAX;
        let step = Duration::from_millis(500);
        while !left.is_zero() {
            if oracle::unserved(&self.world.history).is_none() {
                return;
            }
            Simulated::sleep(step).await;
            left = left.saturating_sub(step);
        }
        if let Some(what) = oracle::unserved(&self.world.history) {
            self.world.violation("watches", what);
        }
    }
}

async fn look_out(cluster: Cluster, stop: Stop) {
    let mut lookout = Lookout::new();
    while !stop.is_set() {
        lookout.look(&cluster);
        Simulated::sleep(LOOK).await;
    }
}
