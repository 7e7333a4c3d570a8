//! The members: their disks, their processes, and the way in for clients.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::berthpb::{Command, PublishMember, command::Op};
use api::etcdserverpb::Member as PublishedMember;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use openraft_rt::AsyncRuntime;
use parking_lot::Mutex;
use raft::{AppliedObserver, Config, InitialMember, Node, Surroundings};

use crate::disk::{Disk, End, Mounted};
use crate::plan::Plan;
use crate::runtime::{Clock, Process, Simulated};
use crate::world::World;

pub(crate) type SimNode = Node<Simulated>;

const CLUSTER_ID: u64 = 0xc1;

/// Clones are the same cluster.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub world: World,
    plan: Plan,
    members: Arc<Mutex<BTreeMap<u64, Member>>>,
}

struct Member {
    disk: Disk,
    /// Of the cluster that it begins; empty: it joins one.
    first: Vec<InitialMember>,
    life: Option<Life>,
    starts: u64,
}

struct Life {
    process: Arc<Process>,
    mounted: Mounted,
    node: Option<SimNode>,
    /// Its disk was told to fail.
    may_fail: bool,
}

/// What came of asking a member.
pub(crate) enum Asked<T> {
    Answered(T),
    /// It does not run.
    NotSent,
    /// No answer: it may have been done.
    Lost,
}

impl Cluster {
    /// Members 1 to `count`, none of them started.
    pub(crate) fn new(world: World, plan: Plan) -> Cluster {
        let first: Vec<_> = (1..=plan.members).map(initial).collect();
        let member = |id| (id, Member::new(first.clone()));
        let members = (1..=plan.members).map(member).collect();
        Cluster { world, plan, members: Arc::new(Mutex::new(members)) }
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.members.lock().keys().copied().collect()
    }

    pub(crate) fn running(&self) -> Vec<u64> {
        let members = self.members.lock();
        members.iter().filter(|(_, member)| member.is_running()).map(|(id, _)| *id).collect()
    }

    pub(crate) fn node(&self, id: u64) -> Option<SimNode> {
        let members = self.members.lock();
        let life = members.get(&id)?.life.as_ref().filter(|life| life.process.is_alive())?;
        life.node.clone()
    }

    /// How often a member has been started.
    pub(crate) fn starts(&self, id: u64) -> u64 {
        self.members.lock().get(&id).map_or(0, |member| member.starts)
    }

    pub(crate) fn process(&self, id: u64) -> Option<Arc<Process>> {
        let members = self.members.lock();
        let life = members.get(&id)?.life.as_ref().filter(|life| life.process.is_alive())?;
        Some(life.process.clone())
    }

    /// Who leads, as most say.
    pub(crate) fn leader(&self) -> Option<u64> {
        let mut said: BTreeMap<u64, usize> = BTreeMap::new();
        for id in self.running() {
            if let Some(leader) = self.node(id).and_then(|node| node.leader()) {
                *said.entry(leader).or_default() += 1;
            }
        }
        said.into_iter().max_by_key(|(_, count)| *count).map(|(id, _)| id)
    }

    /// A member that joins by `id`, with an empty disk.
    pub(crate) fn add(&self, id: u64) {
        self.members.lock().insert(id, Member::new(Vec::new()));
        self.start(id);
    }

    /// The member is gone for good, disk and all.
    pub(crate) fn forget(&self, id: u64) {
        self.stop(id, End::Killed);
        self.members.lock().remove(&id);
    }

    /// Starts a member that does not run.
    pub(crate) fn start(&self, id: u64) {
        let world = &self.world;
        let mut members = self.members.lock();
        let Some(member) = members.get_mut(&id).filter(|member| !member.is_running()) else {
            return;
        };
        member.bury(End::Killed, world);
        member.starts += 1;
        let ahead = world.chance.millis(0..1_000_000);
        let drift_ppm = world.chance.signed(self.plan.drift_ppm_max);
        let process = Process::start(Clock::new(ahead, drift_ppm));
        let mounted = member.disk.mount(process.clone());
        world.log.line(format_args!("m{id} starts, its clock goes {drift_ppm} ppm too fast"));
        let config = self.config(id, member);
        let mut surroundings =
            Surroundings::on_runtime::<Simulated>(mounted.vfs(), Box::new(member.disk.engine()));
        surroundings.transport = world.network.transport(id);
        surroundings.log_salt = config.nonce;
        member.life = Some(Life { process: process.clone(), mounted, node: None, may_fail: false });
        drop(members);
        let life: BoxFuture<'static, ()> =
            Box::pin(self.clone().run(id, process.clone(), config, surroundings));
        drop(process.spawn(life));
    }

    fn config(&self, id: u64, member: &Member) -> Config {
        let observer = AppliedObserver(self.world.history.observer(id));
        Config {
            nonce: (id << 32) + (member.starts << 24),
            snapshot_log_bytes_min: self.plan.snapshot_log_bytes,
            snapshot_bytes_per_s_max: None,
            watch: self.plan.watch,
            lease_checkpoint_interval: Some(self.plan.checkpoint),
            wal_cache_bytes: 2048,
            wal_segment_bytes: self.plan.segment_bytes,
            wal_allocate_bytes: 4096,
            on_applied: Some(observer),
            ..Config::new(PathBuf::from("/data"), CLUSTER_ID, id, member.first.clone())
        }
    }

    /// The life of one process.
    async fn run(self, id: u64, process: Arc<Process>, config: Config, surroundings: Surroundings) {
        let log = self.world.log.clone();
        let node = match Node::<Simulated>::start_in(config, surroundings).await {
            Ok(node) => node,
            Err(error) => {
                log.line(format_args!("m{id} does not start: {error}"));
                self.judge_failure(id, &error.to_string());
                return process.kill();
            }
        };
        self.world.network.plug(id, node.receiver(), process.clone());
        if let Some(life) = self.members.lock().get_mut(&id).and_then(|it| it.life.as_mut()) {
            life.node = Some(node.clone());
        }
        drop(Simulated::spawn(self.clone().publish(id, node.clone())));
        let failure = node.failed().await.to_string();
        log.line(format_args!("m{id} fails: {failure}"));
        self.judge_failure(id, &failure);
        self.world.network.unplug(id);
        process.kill();
    }

    /// A member may fail only if its disk did, or if it is a member no more.
    fn judge_failure(&self, id: u64, failure: &str) {
        let alive = self.process(id).is_some();
        let members = self.members.lock();
        let life = members.get(&id).and_then(|member| member.life.as_ref());
        let excused = life.is_none_or(|life| life.may_fail) || !alive;
        if !excused && !failure.contains("permanently removed") {
            self.world.violation("members go on", format!("member {id} failed: {failure}"));
        }
    }

    /// What a server does once it is ready: without it a member counts as never started.
    async fn publish(self, id: u64, node: SimNode) {
        if node.ready().await.is_err() {
            return;
        }
        self.world.log.line(format_args!("m{id} is ready"));
        let member = PublishedMember {
            id,
            name: format!("m{id}"),
            client_urls: vec![format!("http://c{id}")],
            ..PublishedMember::default()
        };
        let published = PublishMember { member: Some(member), incarnation: node.incarnation() };
        let op = Some(Op::PublishMember(published));
        while node.propose(Command { op: op.clone(), ..Command::default() }).await.is_err() {
            Simulated::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Ends a member's process at once.
    pub(crate) fn stop(&self, id: u64, end: End) {
        self.world.network.unplug(id);
        if let Some(member) = self.members.lock().get_mut(&id) {
            member.bury(end, &self.world);
        }
    }

    /// Ends a member's process by a power failure in the middle of what its disk does next.
    pub(crate) async fn cut_power(&self, id: u64) {
        let operations = self.world.chance.number(0..40);
        if let Some(member) = self.members.lock().get(&id)
            && let Some(life) = &member.life
        {
            life.mounted.cut_power_after(operations);
        }
        for _ in 0..100 {
            if self.process(id).is_none() {
                break;
            }
            Simulated::sleep(Duration::from_millis(5)).await;
        }
        self.stop(id, End::PowerCut);
    }

    /// One of the next operations of a member's disk fails.
    pub(crate) fn fail_disk(&self, id: u64) {
        let operations = self.world.chance.number(0..20);
        if let Some(member) = self.members.lock().get_mut(&id)
            && let Some(life) = &mut member.life
        {
            life.may_fail = true;
            life.mounted.fail_after(operations);
        }
    }

    /// Its disk fails no more.
    pub(crate) fn mend_disk(&self, id: u64) {
        if let Some(member) = self.members.lock().get(&id)
            && let Some(life) = &member.life
        {
            life.mounted.mend();
        }
    }

    /// The member, which does not run, loses its engine.
    pub(crate) fn lose_engine(&self, id: u64) {
        if let Some(member) = self.members.lock().get_mut(&id) {
            member.disk = std::mem::take(&mut member.disk).without_engine();
        }
    }

    /// Asks a running member as a client does, over a network of its own that only delays.
    pub(crate) async fn ask<T, F, Fut>(&self, id: u64, limit: Duration, ask: F) -> Asked<T>
    where
        T: Send + 'static,
        F: FnOnce(SimNode) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send,
    {
        let Some((process, node)) = self.process(id).zip(self.node(id)) else {
            return Asked::NotSent;
        };
        let delay = |cluster: &Cluster| cluster.world.chance.millis(0..3);
        let (there, back) = (delay(self), delay(self));
        let (tx, rx) = oneshot::channel();
        Simulated::sleep(there).await;
        drop(process.spawn(async move {
            // Whoever asked may have given up.
            let _ = tx.send(ask(node).await);
        }));
        match Simulated::timeout(limit, rx).await {
            Ok(Ok(answer)) => {
                Simulated::sleep(back).await;
                Asked::Answered(answer)
            }
            _ => Asked::Lost,
        }
    }

    /// Members that are voters or learners, as whom most take for their leader sees it.
    pub(crate) fn membership(&self) -> Option<BTreeSet<u64>> {
        let node = self.leader().and_then(|id| self.node(id))?;
        Some(node.members().into_iter().map(|member| member.id).collect())
    }

    /// Those of them that have a disk; all that have one if nobody leads.
    pub(crate) fn members(&self) -> Vec<u64> {
        let members = self.membership();
        let is_member = |id: &u64| members.as_ref().is_none_or(|members| members.contains(id));
        self.ids().into_iter().filter(is_member).collect()
    }
}

impl Member {
    fn new(first: Vec<InitialMember>) -> Member {
        Member { disk: Disk::new(), first, life: None, starts: 0 }
    }

    fn is_running(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.process.is_alive())
    }

    /// What is left when the process has ended.
    fn bury(&mut self, end: End, world: &World) {
        if let Some(life) = self.life.take() {
            life.process.kill();
            self.disk = self.disk.after(end, &world.chance);
        }
    }
}

fn initial(id: u64) -> InitialMember {
    InitialMember { id, name: format!("m{id}"), peer_urls: vec![format!("http://m{id}")] }
}
