//! The executor: follows the store, asks the planner, writes what it decides.
//!
//! One task owns the planner and the queue; what has to wait for the store (bindings, conditions,
//! pods that have to make way) runs beside it and comes back as an [`Outcome`]. What is written is
//! seen again by following, like everybody else's writes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::bind::Lost;
use super::lanes::{Decision, Lanes};
use super::news::Feeds;
use super::pod::PodKey;
use super::queue::{PodKind, Queue};
use super::tell::Teller;
use super::write::Writer;
use super::{Planner, Strategy};
use crate::objects::Objects;

/// Transactions under way at a time.
const BINDING_MAX: usize = 128;
/// Documents in one transaction, unless it is one: etcd takes requests of 1.5 MiB.
const BINDING_BYTES_MAX: usize = 512 * 1024;
/// Decisions that may wait for the one before on their node.
const DECIDED_MAX: usize = 512;
/// Pods that are decided on before the store is listened to again.
const AT_ONCE_MAX: usize = 32;
/// Pods that wait are tried at most so often, however much changes.
const WAKE_EVERY: Duration = Duration::from_millis(100);

/// How a scheduler works.
#[derive(Clone, Debug)]
pub struct Settings {
    pub strategy: Strategy,
    /// The `schedulerName` of the pods that it places.
    pub name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { strategy: Strategy::default(), name: "default-scheduler".to_owned() }
    }
}

/// Places pods until it is dropped. Any number of these may run on one store.
pub async fn run(objects: Objects, settings: Settings) {
    loop {
        let mut scheduler = Scheduler::new(&objects, settings.clone());
        while scheduler.step().await {}
        tracing::warn!("the store has gone back to an earlier state: the scheduler begins anew");
    }
}

/// A pod without a node, as it was read last.
#[derive(Clone, Debug)]
pub(super) struct Unbound {
    pub revision: i64,
    pub document: Bytes,
    pub uid: String,
}

/// What comes back from the store.
#[derive(Debug)]
pub(super) enum Outcome {
    Bound {
        node: Arc<str>,
        revision: i64,
    },
    Lost {
        node: Arc<str>,
        pods: Vec<PodKey>,
        lost: Lost,
    },
    /// Nobody knows whether it was written, but these pods have a node now, or have none.
    Unsure {
        node: Arc<str>,
        pods: Vec<(PodKey, bool)>,
    },
    /// Pods were told to go, or could not be told.
    MadeWay {
        pod: PodKey,
        failed: bool,
    },
    Told {
        pod: PodKey,
    },
}

pub(super) struct Scheduler {
    pub feeds: Feeds,
    pub planner: Planner,
    pub queue: Queue,
    /// Pods that are to be placed, or are being bound.
    pub pods: HashMap<PodKey, Unbound>,
    /// Mod revisions of nodes.
    pub nodes: HashMap<Arc<str>, i64>,
    /// All pods are known up to this revision, and all nodes up to that one.
    pub known: i64,
    pub nodes_known: i64,
    pub lanes: Lanes,
    outcomes: JoinSet<Outcome>,
    /// Pods that are tried again as soon as pods and nodes are known up to these revisions.
    late: HashMap<PodKey, (i64, i64)>,
    pub wants_wake: bool,
    next_wake: Instant,
    /// Why the last pod that was placed nowhere was not, and when and of which kind that was.
    last_reason: Option<(PodKind, usize, String)>,
    /// Those who were told to make way for a pod.
    making_way: BTreeMap<PodKey, Vec<PodKey>>,
    pub teller: Teller,
    writer: Arc<Writer>,
    pub settings: Settings,
}

impl Scheduler {
    fn new(objects: &Objects, settings: Settings) -> Self {
        Self {
            feeds: Feeds::new(objects),
            planner: Planner::new(settings.strategy),
            queue: Queue::default(),
            pods: HashMap::new(),
            nodes: HashMap::new(),
            known: 0,
            nodes_known: 0,
            lanes: Lanes::default(),
            outcomes: JoinSet::new(),
            late: HashMap::new(),
            wants_wake: false,
            next_wake: Instant::now(),
            last_reason: None,
            making_way: BTreeMap::new(),
            teller: Teller::new(objects, &settings.name),
            writer: Arc::new(Writer::new(objects.clone(), &settings.name)),
            settings,
        }
    }

    /// Does what is next. False: nothing that is known can be trusted any more.
    async fn step(&mut self) -> bool {
        let can_decide = self.feeds.is_complete()
            && self.queue.has_ready()
            && self.lanes.busy() < BINDING_MAX
            && self.lanes.waiting() < DECIDED_MAX;
        // What is known comes first: a decision is as good as what it rests on.
        let telling = self.teller.due();
        tokio::select! {
            biased;
            news = self.feeds.next() => {
                if !self.take(news) {
                    return false;
                }
            }
            Some(outcome) = self.outcomes.join_next() => match outcome {
                Ok(outcome) => self.end(outcome),
                Err(error) => tracing::error!("a write of the scheduler has failed: {error}"),
            },
            () = tokio::time::sleep_until(self.next_wake), if self.wants_wake => self.wake(),
            () = tokio::time::sleep_until(telling.unwrap_or(self.next_wake)),
                if telling.is_some() => {}
            () = std::future::ready(()), if can_decide => self.decide(),
        }
        self.try_late();
        while let Some((pod, reason)) = self.teller.next(&self.pods) {
            let teller = self.teller.writer();
            self.outcomes.spawn(async move {
                teller.tell(&pod, &reason).await;
                Outcome::Told { pod }
            });
        }
        true
    }

    fn wake(&mut self) {
        self.wants_wake = false;
        self.next_wake = Instant::now() + WAKE_EVERY;
        self.queue.wake();
    }

    fn decide(&mut self) {
        for _ in 0..AT_ONCE_MAX {
            let Some(key) = self.queue.take_next() else { return };
            match self.planner.place(&key) {
                Some(placement) => self.assign(&key, &placement.node),
                None => self.park(&key),
            }
        }
    }

    fn assign(&mut self, key: &PodKey, node: &Arc<str>) {
        self.queue.placed(key);
        self.making_way.remove(key);
        let Some(node_revision) = self.nodes.get(node).copied() else { return };
        self.planner.assume(key, node);
        let decision = Decision { key: key.clone(), node_revision, known: self.known };
        self.lanes.add(node, decision);
        self.send(node);
    }

    /// Writes what is decided about a node, if nothing is under way there.
    fn send(&mut self, node: &Arc<str>) {
        let Some((batch, known)) = self.lanes.take(node) else { return };
        let revision = self.nodes.get(node).copied().unwrap_or(0);
        let (mut pods, mut again, mut bytes) = (Vec::new(), Vec::new(), 0);
        for decision in batch {
            // A node that has changed meanwhile may be cordoned.
            let pod = self.pods.get(&decision.key).filter(|_| decision.node_revision == revision);
            match pod {
                Some(pod) if bytes == 0 || bytes + pod.document.len() <= BINDING_BYTES_MAX => {
                    bytes += pod.document.len();
                    pods.push((decision.key, pod.clone()));
                }
                _ => again.push(decision.key),
            }
        }
        again.into_iter().for_each(|key| self.undo(&key));
        if pods.is_empty() {
            self.lanes.written(node, 0);
            return self.send(node);
        }
        let (writer, node) = (self.writer.clone(), node.clone());
        self.outcomes.spawn(async move { writer.bind(node, revision, known, pods).await });
    }

    fn end(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Bound { node, revision } => {
                // The pods stay assumed until they are seen there: older news may still come.
                self.lanes.written(&node, revision);
                self.send(&node);
            }
            Outcome::Lost { node, pods, lost } => self.lose(&node, &pods, &lost),
            Outcome::Unsure { node, pods } => {
                self.redecide(&node);
                // Those that are bound are on their way here.
                let unbound = pods.into_iter().filter(|(_, is_bound)| !is_bound);
                unbound.for_each(|(key, _)| self.undo(&key));
            }
            Outcome::MadeWay { pod, failed } => {
                if failed {
                    self.making_way.remove(&pod);
                    self.planner.nominate(&pod, None);
                    self.wants_wake = true;
                }
            }
            Outcome::Told { pod } => self.teller.told(&pod),
        }
        self.lanes.tidy(self.known);
    }

    /// Somebody was faster. What they wrote is on its way here; those it concerns wait for it.
    fn lose(&mut self, node: &Arc<str>, pods: &[PodKey], lost: &Lost) {
        self.redecide(node);
        let mine: Vec<i64> =
            pods.iter().map(|key| self.pods.get(key).map_or(0, |pod| pod.revision)).collect();
        let own_of = |at: usize| lost.pods.get(at).copied().unwrap_or(0);
        for (at, key) in pods.iter().enumerate() {
            self.planner.forget(key);
            let changed = own_of(at) != mine[at];
            let until = if changed { own_of(at) } else { 0 };
            self.late.insert(key.clone(), (until.max(lost.allocation), lost.node));
        }
    }

    /// What waits for a node has to be decided again.
    fn redecide(&mut self, node: &Arc<str>) {
        for decision in self.lanes.failed(node) {
            self.undo(&decision.key);
        }
    }

    /// A decision that will not be written.
    fn undo(&mut self, key: &PodKey) {
        self.planner.forget(key);
        self.late.insert(key.clone(), (0, 0));
    }

    /// Queues those who have waited for what is known now.
    fn try_late(&mut self) {
        let (known, nodes_known) = (self.known, self.nodes_known);
        if self.late.is_empty() {
            return;
        }
        let is_due = |of: &(i64, i64)| of.0 <= known && of.1 <= nodes_known;
        let mut due: Vec<PodKey> =
            self.late.iter().filter(|(_, of)| is_due(of)).map(|(key, _)| key.clone()).collect();
        due.sort_unstable();
        for key in due {
            self.late.remove(&key);
            if self.pods.contains_key(&key)
                && let Some((priority, created_s)) = self.planner.rank_of(&key)
            {
                self.queue.add(&key, priority, created_s);
            }
        }
    }

    /// The pod goes nowhere now: says why, and has others make way if that helps.
    fn park(&mut self, key: &PodKey) {
        let Some(kind) = self.planner.kind_of(key) else { return };
        let depends = self.planner.waits_for_others(key);
        let reason = match &self.last_reason {
            Some((of, at, reason)) if *of == kind && *at == self.planner.position() => {
                reason.clone()
            }
            _ => {
                let mut reason = self.planner.explain(key);
                self.last_reason = None;
                if let Err(none) = self.make_way(key) {
                    reason = format!("{reason} preemption: {none}");
                    self.last_reason = Some((kind, self.planner.position(), reason.clone()));
                }
                reason
            }
        };
        // Whoever has a node named for it is of a kind of its own.
        let Some(kind) = self.planner.kind_of(key) else { return };
        self.queue.park(key, kind, depends);
        self.teller.say(key, "Unschedulable", reason);
    }

    fn make_way(&mut self, key: &PodKey) -> Result<(), String> {
        if let Some(leaving) = self.making_way.get(key) {
            if leaving.iter().any(|victim| self.planner.node_of(victim).is_some()) {
                return Err("not eligible due to a terminating pod on the nominated node.".into());
            }
            self.making_way.remove(key);
        }
        let way = self.planner.make_way(key)?;
        self.planner.nominate(key, Some(&way.node));
        let victims = way.victims.iter().map(|(victim, _)| victim.clone()).collect();
        self.making_way.insert(key.clone(), victims);
        let (writer, key) = (self.writer.clone(), key.clone());
        let uid = self.pods.get(&key).map(|pod| pod.uid.clone()).unwrap_or_default();
        self.outcomes.spawn(async move {
            let made = writer.make_way(&key, &uid, &way).await;
            Outcome::MadeWay { pod: key, failed: !made }
        });
        Ok(())
    }

    /// Whether a pod waits for what somebody else wrote.
    pub(super) fn is_late(&self, key: &PodKey) -> bool {
        self.late.contains_key(key)
    }

    /// A pod is gone: nobody makes way for it any more.
    pub(super) fn forget_way(&mut self, key: &PodKey) {
        self.making_way.remove(key);
    }
}
