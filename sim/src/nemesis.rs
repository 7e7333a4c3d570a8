//! Whoever makes things go wrong, one fault after the other, some of them at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use api::berthpb::members_question::Change;
use api::berthpb::{AddMember, RemoveMember};
use api::etcdserverpb::Member;
use openraft_rt::AsyncRuntime;
use parking_lot::Mutex;
use raft::MembersError;

use crate::cluster::{Asked, Cluster};
use crate::disk::End;
use crate::network::Weather;
use crate::plan::{Fault, Plan};
use crate::runtime::Simulated;

/// The first id of members that come later.
const NEWCOMERS: u64 = 100;
/// How long a change of members is tried.
const CHANGE_MAX: Duration = Duration::from_secs(10);

/// Clones are the same.
#[derive(Clone)]
pub(crate) struct Nemesis {
    cluster: Cluster,
    plan: Plan,
    over: Arc<AtomicBool>,
    /// A change of members is under way.
    changing: Arc<AtomicBool>,
    /// A change of members that is not known to be made.
    owed: Arc<Mutex<Option<Change>>>,
    newcomers: Arc<AtomicU64>,
}

impl Nemesis {
    pub(crate) fn new(cluster: Cluster, plan: Plan) -> Nemesis {
        Nemesis {
            cluster,
            plan,
            over: Arc::default(),
            changing: Arc::default(),
            owed: Arc::default(),
            newcomers: Arc::new(AtomicU64::new(NEWCOMERS)),
        }
    }

    /// Faults until it is over, each in a task of its own.
    pub(crate) async fn run(self) {
        let chance = self.cluster.world.chance.clone();
        while !self.is_over() {
            Simulated::sleep(chance.millis(50..self.plan.calm_ms_max)).await;
            if let Some(fault) = chance.pick(&self.plan.kinds)
                && !self.is_over()
            {
                drop(Simulated::spawn(self.clone().make(fault)));
            }
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// No fault any more, and nothing that is left of one.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.calm();
        for id in self.cluster.ids() {
            if let Some(process) = self.cluster.process(id) {
                process.resume();
            }
            self.cluster.mend_disk(id);
            self.cluster.start(id);
        }
    }

    fn calm(&self) {
        self.cluster.world.network.mend();
        let weather = if self.is_over() { Weather::FAIR } else { self.plan.weather };
        self.cluster.world.network.set_weather(weather);
    }

    /// For as long as the fault lasts, or until all is over.
    async fn wait(&self, ms: std::ops::Range<u64>) {
        let mut left = self.cluster.world.chance.millis(ms);
        let step = Duration::from_millis(50);
        while !self.is_over() && !left.is_zero() {
            Simulated::sleep(step.min(left)).await;
            left = left.saturating_sub(step);
        }
    }

    async fn make(self, fault: Fault) {
        let world = &self.cluster.world;
        let Some(id) = world.chance.pick(&self.cluster.running()) else { return };
        world.log.line(format_args!("fault: {} (m{id})", fault.name()));
        // Of changes of members there is one at a time: those count when they are begun.
        if !matches!(fault, Fault::NewMember | Fault::LostDisk) {
            world.count(fault.name());
        }
        match fault {
            Fault::Kill => self.stop(id, End::Killed).await,
            Fault::PowerCut => {
                self.cluster.cut_power(id).await;
                self.restart(id, false).await;
            }
            Fault::PowerCutOfAll => self.cut_all().await,
            Fault::Pause => self.pause(id).await,
            Fault::PauseOfLeader => self.pause(self.cluster.leader().unwrap_or(id)).await,
            Fault::Split => self.split().await,
            Fault::Isolation => self.isolate(id).await,
            Fault::OneWay => self.one_way(id).await,
            Fault::Storm => self.storm().await,
            Fault::DiskError => {
                self.cluster.fail_disk(id);
                self.restart(id, false).await;
            }
            Fault::EngineLoss => {
                let cut = world.chance.one_in_thousand(500);
                self.cluster.stop(id, if cut { End::PowerCut } else { End::Killed });
                self.restart(id, true).await;
            }
            Fault::Transfer => self.transfer().await,
            Fault::NewMember => self.change_members(None).await,
            Fault::LostDisk => self.change_members(Some(id)).await,
        }
    }

    async fn stop(&self, id: u64, end: End) {
        self.cluster.stop(id, end);
        self.restart(id, false).await;
    }

    async fn restart(&self, id: u64, without_engine: bool) {
        self.wait(100..4000).await;
        if without_engine && self.cluster.process(id).is_none() {
            self.cluster.lose_engine(id);
        }
        self.cluster.start(id);
    }

    async fn cut_all(&self) {
        let ids = self.cluster.running();
        for id in &ids {
            self.cluster.stop(*id, End::PowerCut);
        }
        for id in ids {
            self.wait(10..1000).await;
            self.cluster.start(id);
        }
    }

    async fn pause(&self, id: u64) {
        let Some(process) = self.cluster.process(id) else { return };
        process.pause();
        self.wait(200..5000).await;
        process.resume();
        self.cluster.world.log.line(format_args!("m{id} goes on"));
    }

    async fn split(&self) {
        let mut ids = self.cluster.ids();
        self.cluster.world.chance.shuffle(&mut ids);
        let (one, other) = ids.split_at(ids.len() / 2);
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
            self.cluster.world.network.block(a, b);
            self.cluster.world.network.block(b, a);
        }
        self.wait(300..6000).await;
        self.calm();
    }

    async fn isolate(&self, id: u64) {
        for other in self.cluster.ids() {
            self.cluster.world.network.block(id, other);
            self.cluster.world.network.block(other, id);
        }
        self.wait(300..6000).await;
        self.calm();
    }

    async fn one_way(&self, id: u64) {
        let outwards = self.cluster.world.chance.one_in_thousand(500);
        for other in self.cluster.ids() {
            let (from, to) = if outwards { (id, other) } else { (other, id) };
            self.cluster.world.network.block(from, to);
        }
        self.wait(300..6000).await;
        self.calm();
    }

    async fn storm(&self) {
        let storm = Weather { lost: 300, repeated: 300, broken: 50, delay_ms_max: 400 };
        self.cluster.world.network.set_weather(storm);
        self.wait(300..5000).await;
        self.calm();
    }

    async fn transfer(&self) {
        let world = &self.cluster.world;
        let Some(leader) = self.cluster.leader() else { return };
        let Some(to) = world.chance.pick(&self.cluster.running()) else { return };
        let asked = self.cluster.ask(leader, CHANGE_MAX, move |node| async move {
            node.transfer_leader(to).await.is_ok()
        });
        let made = matches!(asked.await, Asked::Answered(true));
        world.log.line(format_args!("leadership from m{leader} to m{to}: {made}"));
    }

    /// A member more; or, for one that lost its disk, another in its place.
    async fn change_members(&self, lost: Option<u64>) {
        if self.changing.swap(true, Ordering::Relaxed) {
            return;
        }
        self.change_in_turn(lost).await;
        self.changing.store(false, Ordering::Relaxed);
    }

    async fn change_in_turn(&self, lost: Option<u64>) {
        // A disk more would be one too many while a lost one's member may have its vote still.
        if !self.settle().await || self.is_over() {
            return;
        }
        let Some(known) = self.cluster.membership() else { return };
        // One at a time, so that the others are a majority; and no more than a few.
        let whole = known.iter().all(|id| self.cluster.running().contains(id));
        if !whole || known.len() < 3 || (lost.is_none() && known.len() >= 7) {
            return;
        }
        let fault = if lost.is_some() { Fault::LostDisk } else { Fault::NewMember };
        self.cluster.world.count(fault.name());
        if let Some(id) = lost {
            self.cluster.forget(id);
            *self.owed.lock() = Some(Change::Remove(RemoveMember { id }));
            if !self.settle().await {
                return;
            }
        }
        let id = self.newcomers.fetch_add(1, Ordering::Relaxed);
        let add = AddMember { peer_urls: vec![format!("http://m{id}")], is_learner: false, id };
        *self.owed.lock() = Some(Change::Add(add));
        self.settle().await;
    }

    /// Makes the change that is owed, if one is; false: it may be made, or not.
    async fn settle(&self) -> bool {
        let Some(change) = self.owed.lock().clone() else { return true };
        if !self.change(&change).await {
            return false;
        }
        *self.owed.lock() = None;
        if let Change::Add(AddMember { id, .. }) = change {
            self.cluster.add(id);
            self.wait_for(id).await;
            self.cluster.world.count("member joined");
        }
        true
    }

    /// Until the newcomer has its vote: before, the others alone are the majority.
    async fn wait_for(&self, id: u64) {
        loop {
            let ready =
                self.cluster.ask(id, CHANGE_MAX, |node| async move { node.ready().await.is_ok() });
            if matches!(ready.await, Asked::Answered(true)) {
                return;
            }
            Simulated::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asks until it is made.
    async fn change(&self, change: &Change) -> bool {
        let world = &self.cluster.world;
        for _ in 0..20 {
            let Some(by) = world.chance.pick(&self.cluster.running()) else { return false };
            let wish = change.clone();
            let asked = self
                .cluster
                .ask(by, CHANGE_MAX, move |node| async move { node.change_members(wish).await })
                .await;
            if let Asked::Answered(answer) = asked {
                let log = format!("{:?}", answer.as_ref().map(Vec::len));
                world.log.line(format_args!("members by m{by}: {log}"));
                if is_made(change, &answer) {
                    return true;
                }
            }
            Simulated::sleep(Duration::from_millis(500)).await;
        }
        false
    }
}

/// Whether the answer says so; what was asked before may have been done after no answer came.
fn is_made(change: &Change, answer: &Result<Vec<Member>, MembersError>) -> bool {
    match (change, answer) {
        (Change::Add(add), Ok(members)) => members.iter().any(|member| member.id == add.id),
        (Change::Remove(remove), Ok(members)) => {
            members.iter().all(|member| member.id != remove.id)
        }
        (Change::Add(_), Err(MembersError::IdExists))
        | (Change::Remove(_), Err(MembersError::NotFound)) => true,
        _ => false,
    }
}
