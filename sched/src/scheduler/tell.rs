//! Telling people why a pod waits: its condition, and an event.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use tokio::time::Instant;

use super::pod::PodKey;
use super::run::Unbound;
use super::write::about;
use crate::objects::events::{Recorder, Severity};
use crate::objects::{Objects, clock};

/// Pods whose conditions are written at a time.
const TELLING_MAX: usize = 16;
/// Reasons change with every node; what is told of one pod changes no oftener than this.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// What is said of a pod that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    reason: &'static str,
    message: String,
    uid: String,
    is_event: bool,
}

/// What has to be told, and what was told.
pub(super) struct Teller {
    writer: Arc<Words>,
    waiting: HashMap<PodKey, (Instant, &'static str, String)>,
    /// Those that wait, by the time from which on they may be told.
    order: BTreeSet<(Instant, PodKey)>,
    telling: BTreeSet<PodKey>,
    told: HashMap<PodKey, (String, Instant)>,
}

/// Writes conditions and events.
pub(super) struct Words {
    objects: Objects,
    events: Recorder,
}

impl Teller {
    pub(super) fn new(objects: &Objects, name: &str) -> Self {
        let events = Recorder::new(objects.clone(), name, None);
        Self {
            writer: Arc::new(Words { objects: objects.clone(), events }),
            waiting: HashMap::new(),
            order: BTreeSet::new(),
            telling: BTreeSet::new(),
            told: HashMap::new(),
        }
    }

    pub(super) fn writer(&self) -> Arc<Words> {
        self.writer.clone()
    }

    /// A pod waits for this reason. What was told already is not told again.
    pub(super) fn say(&mut self, key: &PodKey, reason: &'static str, message: String) {
        self.take_back(key);
        let from = match self.told.get(key) {
            Some((told, _)) if *told == message => return,
            Some((_, at)) => *at + TOLD_EVERY,
            None => Instant::now(),
        };
        self.order.insert((from, key.clone()));
        self.waiting.insert(key.clone(), (from, reason, message));
    }

    fn take_back(&mut self, key: &PodKey) -> Option<(&'static str, String)> {
        let (from, reason, message) = self.waiting.remove(key)?;
        self.order.remove(&(from, key.clone()));
        Some((reason, message))
    }

    /// A pod waits until somebody takes its gates away.
    pub(super) fn say_gated(&mut self, key: &PodKey, message: &str) {
        self.say(key, "SchedulingGated", message.to_owned());
    }

    pub(super) fn forget(&mut self, key: &PodKey) {
        self.take_back(key);
        self.told.remove(key);
    }

    /// When the next one is to be told; `None`: there is none, or no place for it.
    pub(super) fn due(&self) -> Option<Instant> {
        let has_place = self.telling.len() < TELLING_MAX;
        self.order.first().filter(|_| has_place).map(|(from, _)| *from)
    }

    /// The next one to be told, if its time has come and there is place for it.
    pub(super) fn next(&mut self, pods: &HashMap<PodKey, Unbound>) -> Option<(PodKey, Reason)> {
        self.due().filter(|from| *from <= Instant::now())?;
        let (_, key) = self.order.first().cloned()?;
        let (reason, message) = self.take_back(&key)?;
        self.telling.insert(key.clone());
        self.told.insert(key.clone(), (message.clone(), Instant::now()));
        let uid = pods.get(&key).map(|pod| pod.uid.clone()).unwrap_or_default();
        let is_event = reason == "Unschedulable";
        Some((key, Reason { reason, message, uid, is_event }))
    }

    pub(super) fn told(&mut self, key: &PodKey) {
        self.telling.remove(key);
    }
}

impl Words {
    /// Writes the condition if it says something new, then an event. Several schedulers say the
    /// same: only the first of them writes.
    pub(super) async fn tell(&self, key: &PodKey, reason: &Reason) {
        let change = |pod: &mut Pod| {
            let spec = pod.spec.as_ref();
            let is_bound = spec.is_some_and(|spec| spec.node_name.is_some());
            !is_bound && set_condition(pod, reason)
        };
        let namespace = Some(&*key.namespace);
        match self.objects.modify::<Pod>(namespace, &key.name, change).await {
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(pod = %key, "why it waits cannot be told: {error}");
                return;
            }
        }
        if reason.is_event {
            let about = about(key, &reason.uid);
            let message = &reason.message;
            self.events.record(&about, Severity::Warning, "FailedScheduling", message).await;
        }
    }
}

/// Whether the pod's condition was another one.
fn set_condition(pod: &mut Pod, reason: &Reason) -> bool {
    let status = pod.status.get_or_insert_default();
    let conditions = status.conditions.get_or_insert_default();
    let before = conditions.iter_mut().find(|one| one.type_ == "PodScheduled");
    let is_said = before.as_ref().is_some_and(|one| {
        one.status == "False"
            && one.reason.as_deref() == Some(reason.reason)
            && one.message.as_deref() == Some(&*reason.message)
    });
    if is_said {
        return false;
    }
    let since = before.as_ref().filter(|one| one.status == "False");
    let since = since.and_then(|one| one.last_transition_time.clone());
    let new = PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some(reason.reason.to_owned()),
        message: Some(reason.message.clone()),
        last_transition_time: Some(since.unwrap_or_else(clock::time)),
        ..PodCondition::default()
    };
    match before {
        Some(before) => *before = new,
        None => conditions.push(new),
    }
    true
}
