//! Does what the planner says for one pod, and tells the store how it is.
//!
//! One task for each pod: it looks, plans, begins what is to be done, writes the status, and waits
//! for whatever comes first: a change of the pod or of its containers, the end of something it has
//! begun, a probe's finding, the lease, or the time the plan names. Nothing that takes long is done
//! in the task itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::events::Events;
use super::hook::Target;
use super::memory::{Failure, Memory, Probed, Task};
use super::plan::{Action, Lease, View, Why, plan};
use super::probe::{self, Finding, Prober};
use super::status::{is_coming_up, is_news, status};
use super::{make, spec};
use crate::agent::clock;
use crate::agent::context::Context;
use crate::agent::runtime::{Container, Sandbox, State};
use crate::agent::steps::{self, Step, Stop};
use crate::agent::volumes;
use crate::kv::follow::{Follower, News};
use crate::objects::{ErrorKind, Objects, Stored};

/// What is looked at again at least this often, whatever has been told.
const LOOK: Duration = Duration::from_secs(30);
/// After something could not be seen or written.
const RETRY: Duration = Duration::from_secs(1);
/// How long it is kept back that a pod is coming up: most run by then, and then all is told at once.
const KEPT_BACK: Duration = Duration::from_secs(1);
/// What has been found and not looked at.
const WAITING_MAX: usize = 64;
/// What its containers get to end in, when the pod's key has gone.
const GONE_GRACE: SignedDuration = SignedDuration::from_secs(2);

/// What a worker is told of from outside.
#[derive(Clone)]
pub(in crate::agent) struct Orders {
    /// `None`: it is not in the store any more, or not bound to this node.
    pub(in crate::agent) pod: watch::Sender<Option<Arc<Stored<Pod>>>>,
    /// Its containers may have changed.
    pub(in crate::agent) look: Arc<tokio::sync::Notify>,
}

/// Something that was begun has ended.
struct Done {
    what: Begun,
    outcome: Result<(), Step>,
}

#[derive(Clone)]
enum Begun {
    Task(Task),
    Stop(String),
}

pub(in crate::agent) struct Worker {
    context: Arc<Context>,
    pod: Arc<Stored<Pod>>,
    /// When it was seen that its key has gone.
    gone_since: Option<Timestamp>,
    orders: watch::Receiver<Option<Arc<Stored<Pod>>>>,
    look: Arc<tokio::sync::Notify>,
    memory: Memory,
    events: Events,
    probers: BTreeMap<String, Prober>,
    findings: (mpsc::Sender<Finding>, mpsc::Receiver<Finding>),
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    begun: JoinSet<()>,
    stops: BTreeMap<String, AbortHandle>,
    /// Since when something is kept back; see [`KEPT_BACK`].
    kept_back: Option<Instant>,
    /// The lease that was planned with last.
    lease: Lease,
    /// Whether the pod is being deleted: what only brings it up is given up.
    ending: watch::Sender<bool>,
    has_finished: bool,
}

impl Worker {
    /// A worker for a pod, and how it is told of changes.
    pub(in crate::agent) fn new(context: Arc<Context>, pod: Arc<Stored<Pod>>) -> (Self, Orders) {
        let (sender, orders) = watch::channel(Some(pod.clone()));
        let look = Arc::new(tokio::sync::Notify::new());
        let events = Events::new(context.recorder.clone(), &pod.object);
        let lease = *context.lease.borrow();
        let worker = Self {
            context,
            pod,
            gone_since: None,
            orders,
            look: look.clone(),
            memory: Memory::default(),
            events,
            probers: BTreeMap::new(),
            findings: mpsc::channel(WAITING_MAX),
            done: mpsc::channel(WAITING_MAX),
            begun: JoinSet::new(),
            stops: BTreeMap::new(),
            kept_back: None,
            lease,
            ending: watch::Sender::new(false),
            has_finished: false,
        };
        (worker, Orders { pod: sender, look })
    }

    /// Runs until nothing is left of the pod.
    pub(in crate::agent) async fn run(mut self) {
        self.follow_files();
        while !self.has_finished {
            let wait = match self.step().await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(pod = spec::name(&self.pod), "{error}");
                    RETRY
                }
            };
            self.wait(wait).await;
        }
    }

    /// Looks, begins what is to be done, and says how it is. Returns when to do it again.
    async fn step(&mut self) -> Result<Duration, String> {
        let uid = spec::uid(&self.pod).to_owned();
        let sandbox =
            self.context.runtime.observe(&uid).await.map_err(|error| error.to_string())?;
        self.mind_fence(sandbox.as_ref()).await?;
        let address = self.address(sandbox.as_ref());
        self.mind_probes(sandbox.as_ref(), address);
        self.read_messages(sandbox.as_ref());
        let now = clock::now();
        self.lease = *self.context.lease.borrow();
        let pod = self.desired();
        self.ending.send_replace(spec::deleted(&pod).is_some());
        let plan = plan(&self.view(&pod, sandbox.as_ref(), now));
        for action in plan.actions {
            self.begin(action, &pod, address, now);
        }
        let written = self.write_status(sandbox.as_ref()).await;
        let wait = plan.wake_at.map_or(LOOK, |at| {
            let left = at.duration_since(clock::now()).max(SignedDuration::ZERO);
            // Rounded up, or it would wake just before.
            left.unsigned_abs() + Duration::from_millis(1)
        });
        let kept_back = self.kept_back.map(|since| KEPT_BACK.saturating_sub(since.elapsed()));
        match written {
            Ok(()) => Ok(wait.min(kept_back.unwrap_or(LOOK)).min(LOOK)),
            Err(error) => {
                tracing::warn!(pod = spec::name(&self.pod), "cannot write its status: {error}");
                Ok(wait.min(RETRY))
            }
        }
    }

    /// What others would start elsewhere must end with the node's lease, whatever becomes of us.
    async fn mind_fence(&mut self, sandbox: Option<&Sandbox>) -> Result<(), String> {
        let fenced = Some(spec::is_replaced_elsewhere(&self.pod));
        if sandbox.is_none() {
            self.memory.fenced = None;
        } else if self.memory.fenced != fenced {
            let telling =
                self.context.runtime.set_fenced(spec::uid(&self.pod), fenced == Some(true));
            telling.await.map_err(|error| error.to_string())?;
            self.memory.fenced = fenced;
        }
        Ok(())
    }

    fn view<'a>(&'a self, pod: &'a Pod, sandbox: Option<&'a Sandbox>, now: Timestamp) -> View<'a> {
        View {
            pod,
            sandbox,
            memory: &self.memory,
            backoff: self.context.settings.backoff.of(pod),
            lease: self.lease,
            now,
        }
    }

    /// The pod as it is wanted: one whose key has gone is being deleted.
    fn desired(&self) -> Arc<Stored<Pod>> {
        let Some(since) = self.gone_since else { return self.pod.clone() };
        let by = since + GONE_GRACE;
        let mut pod = self.pod.clone();
        let is_earlier = spec::deleted(&pod).is_some_and(|before| before <= by);
        if !is_earlier {
            let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(by);
            Arc::make_mut(&mut pod).object.metadata.deletion_timestamp = Some(time);
        }
        pod
    }

    fn address(&self, sandbox: Option<&Sandbox>) -> IpAddr {
        let own = sandbox.and_then(|sandbox| sandbox.address);
        own.unwrap_or(self.context.host.address)
    }

    async fn wait(&mut self, wait: Duration) {
        if self.has_finished {
            return;
        }
        let (mut lease, planned_with) = (self.context.lease.clone(), self.lease);
        let end = tokio::time::sleep(wait);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                () = self.look.notified() => break,
                Ok(_) = lease.wait_for(|now| *now != planned_with) => break,
                Some(done) = self.done.1.recv() => break self.take_done(done),
                Some(finding) = self.findings.1.recv() => break self.take_finding(finding),
                // What it wrote itself comes back, too.
                Ok(()) = self.orders.changed() => if self.take_orders() { break },
            }
        }
        // Whatever else has come meanwhile is looked at together.
        while let Ok(done) = self.done.1.try_recv() {
            self.take_done(done);
        }
        while let Ok(finding) = self.findings.1.try_recv() {
            self.take_finding(finding);
        }
        while self.begun.try_join_next().is_some() {}
    }

    /// Whether they are news.
    fn take_orders(&mut self) -> bool {
        let order = self.orders.borrow_and_update().clone();
        let had_gone = self.gone_since.is_some();
        match order {
            Some(pod) if pod.revision >= self.pod.revision => {
                let is_later = pod.revision > self.pod.revision;
                self.pod = pod;
                self.gone_since = None;
                is_later || had_gone
            }
            Some(_) => false,
            None => {
                self.gone_since = self.gone_since.or(Some(clock::now()));
                !had_gone
            }
        }
    }

    fn take_finding(&mut self, finding: Finding) {
        if let Some(complaint) = finding.complaint {
            self.events.warning("", "Unhealthy", complaint);
        }
        self.memory.probed.insert(finding.id, finding.probed);
    }

    fn take_done(&mut self, done: Done) {
        match (done.what, done.outcome) {
            (Begun::Stop(id), outcome) => {
                self.memory.stopping.remove(&id);
                self.stops.remove(&id);
                if let Err(step) = outcome {
                    tracing::warn!(pod = spec::name(&self.pod), "{}", step.message);
                }
            }
            (Begun::Task(task), outcome) => {
                self.memory.busy.remove(&task);
                match task {
                    Task::Start(name) => self.take_start(name, outcome.err()),
                    Task::Sandbox => self.take_sandbox(outcome.err()),
                    Task::Finish => self.take_finish(outcome.err()),
                    Task::Remove(_) => {}
                }
            }
        }
    }

    fn take_start(&mut self, name: String, failed: Option<Step>) {
        let Some(step) = failed else {
            self.memory.failures.remove(&name);
            return;
        };
        self.events.warning(&name, step.event, step.message.clone());
        let failure = next(self.memory.failures.remove(&name), step);
        self.memory.failures.insert(name, failure);
    }

    fn take_sandbox(&mut self, failed: Option<Step>) {
        let Some(step) = failed else {
            self.memory.sandbox_failure = None;
            return;
        };
        self.events.warning("", step.event, step.message.clone());
        self.memory.sandbox_failure = Some(next(self.memory.sandbox_failure.take(), step));
    }

    fn take_finish(&mut self, failed: Option<Step>) {
        match failed {
            None => self.has_finished = true,
            Some(step) => {
                tracing::warn!(pod = spec::name(&self.pod), "cannot be removed: {}", step.message);
                let (done, what) = (self.done.0.clone(), Begun::Task(Task::Remove(String::new())));
                // Nothing else would make it look again soon.
                self.begun.spawn(async move {
                    tokio::time::sleep(RETRY).await;
                    let _ = done.send(Done { what, outcome: Ok(()) }).await;
                });
            }
        }
    }

    fn begin(&mut self, action: Action, pod: &Arc<Stored<Pod>>, address: IpAddr, now: Timestamp) {
        let (context, pod) = (self.context.clone(), pod.clone());
        match action {
            Action::StartSandbox => {
                self.spawn(Task::Sandbox, async move { steps::sandbox(&context, &pod).await });
            }
            Action::StopSandbox => {
                let uid = spec::uid(&pod).to_owned();
                self.spawn(Task::Sandbox, async move { steps::stop_sandbox(&context, &uid).await });
            }
            Action::Start { name, attempt, streak } => {
                let (events, task) = (self.events.clone(), Task::Start(name.clone()));
                let ending = self.ending.subscribe();
                self.spawn(task, async move {
                    let start = steps::Start { pod, name, attempt, streak, address, ending };
                    steps::start(&context, &start, &events).await
                });
            }
            Action::Remove { id } => {
                self.spawn(
                    Task::Remove(id.clone()),
                    async move { steps::remove(&context, &id).await },
                );
            }
            Action::Finish => {
                self.spawn(Task::Finish, async move { steps::finish(&context, &pod).await });
            }
            Action::Stop { id, name, grace, why } => {
                self.stop(&pod, &id, &name, grace, &why, address, now);
            }
        }
    }

    fn spawn(&mut self, task: Task, work: impl Future<Output = Result<(), Step>> + Send + 'static) {
        self.memory.busy.insert(task.clone());
        let done = self.done.0.clone();
        self.begun.spawn(async move {
            let outcome = work.await;
            // The worker has gone: nobody asks any more.
            let _ = done.send(Done { what: Begun::Task(task), outcome }).await;
        });
    }

    #[expect(clippy::too_many_arguments, reason = "one action, taken apart")]
    fn stop(
        &mut self,
        pod: &Arc<Stored<Pod>>,
        id: &str,
        name: &str,
        grace: Duration,
        why: &Why,
        address: IpAddr,
        now: Timestamp,
    ) {
        let grace_max = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
        let by = now.checked_add(grace_max).unwrap_or(Timestamp::MAX);
        // An earlier order gave it longer.
        if let Some(before) = self.stops.remove(id) {
            before.abort();
        } else {
            let reason = match why {
                Why::Sick(reason) => format!("Container {name} {reason}, will be restarted"),
                Why::Changed => {
                    format!("Container {name} has another image now, will be restarted")
                }
                Why::NoSandbox => format!("Stopping container {name}: the pod's network is gone"),
                Why::NoLease => format!("Stopping container {name}: the node may lose its lease"),
                Why::Over => format!("Stopping container {name}"),
            };
            self.events.normal(name, "Killing", reason);
        }
        self.probers.remove(id);
        self.memory.stopping.insert(id.to_owned(), by);
        let target = self.target(pod, id, name, address);
        // What is to be there again at once is not missed.
        let leaves = *why == Why::Over && spec::deleted(pod).is_some();
        let leaves = leaves.then(|| pod.clone());
        let (context, done, id) = (self.context.clone(), self.done.0.clone(), id.to_owned());
        let events = self.events.clone();
        let handle = self.begun.spawn({
            let stop = Stop { id: id.clone(), target, grace, leaves };
            let what = Begun::Stop(id.clone());
            async move {
                let outcome = steps::stop(&context, stop, &events).await;
                let _ = done.send(Done { what, outcome }).await;
            }
        });
        self.stops.insert(id, handle);
    }

    fn target(&self, pod: &Pod, id: &str, name: &str, address: IpAddr) -> Option<Target> {
        Some(Target {
            runtime: self.context.runtime.clone(),
            id: id.to_owned(),
            address,
            container: spec::container(pod, name)?.clone(),
        })
    }

    /// Asks every running container, and none that has ended.
    fn mind_probes(&mut self, sandbox: Option<&Sandbox>, address: IpAddr) {
        let containers = sandbox.map_or(&[][..], |sandbox| &sandbox.containers);
        let running: BTreeMap<&str, (&Container, Timestamp)> = containers
            .iter()
            .filter_map(|container| match container.state {
                State::Running { started_at } => {
                    Some((container.id.as_str(), (container, started_at)))
                }
                State::Exited { .. } => None,
            })
            .collect();
        self.probers.retain(|id, _| running.contains_key(id.as_str()));
        let known: BTreeSet<&str> =
            containers.iter().map(|container| container.id.as_str()).collect();
        self.memory.probed.retain(|id, _| running.contains_key(id.as_str()));
        self.memory.messages.retain(|id, _| known.contains(id.as_str()));
        let pod = self.pod.clone();
        for (id, (container, started_at)) in running {
            if self.probers.contains_key(id) || self.memory.stopping.contains_key(id) {
                continue;
            }
            let Some(target) = self.target(&pod.object, id, &container.name, address) else {
                continue;
            };
            if !probe::is_wanted(&target) {
                continue;
            }
            let before = self.memory.probed.entry(id.to_owned());
            let before = before.or_insert_with(|| self.context.known(&pod.object, id)).clone();
            let prober = probe::start(target, started_at, before, self.findings.0.clone());
            self.probers.insert(id.to_owned(), prober);
        }
    }

    /// What containers left behind to be told.
    fn read_messages(&mut self, sandbox: Option<&Sandbox>) {
        for container in sandbox.iter().flat_map(|sandbox| &sandbox.containers) {
            let has_ended = matches!(container.state, State::Exited { .. });
            if has_ended && !self.memory.messages.contains_key(&container.id) {
                let message = steps::message(&self.context, spec::uid(&self.pod), container);
                self.memory.messages.insert(container.id.clone(), message);
            }
        }
    }

    /// Writes the status, if it is any news. Over what was read, or what is there instead.
    async fn write_status(&mut self, sandbox: Option<&Sandbox>) -> Result<(), String> {
        let kept_back = self.kept_back.take();
        // Without the lease it is for others to say how it is.
        if self.gone_since.is_some() || *self.context.lease.borrow() != Lease::Held {
            return Ok(());
        }
        let (host, now) = (self.context.host, clock::now());
        let pod = self.pod.clone();
        let wanted = status(&self.view(&pod.object, sandbox, now), host);
        if !is_news(&pod.object, &wanted) {
            return Ok(());
        }
        let since = kept_back.unwrap_or_else(Instant::now);
        if self.keeps_back(&wanted, since) {
            self.kept_back = Some(since);
            return Ok(());
        }
        let objects = &self.context.objects;
        let replacing =
            objects
                .update_status(&pod, &pod.object.status, Some(wanted), |pod, now| pod.status = now);
        let written = match replacing.await {
            Err(error) if error.kind == ErrorKind::Conflict => {
                // What others changed has not been planned for.
                self.look.notify_one();
                let change = |fresh: &mut Pod| {
                    if spec::uid(fresh) != spec::uid(&pod.object) {
                        return false;
                    }
                    let wanted = status(&self.view(fresh, sandbox, now), host);
                    let differs = is_news(fresh, &wanted);
                    fresh.status = Some(wanted);
                    differs
                };
                let (namespace, name) = (spec::namespace(&pod), spec::name(&pod));
                objects.modify::<Pod>(Some(namespace), name, change).await
            }
            outcome => outcome.map(Some),
        };
        match written {
            Ok(Some(stored)) if spec::uid(&stored.object) == spec::uid(&pod.object) => {
                if stored.revision >= self.pod.revision {
                    self.pod = Arc::new(stored);
                }
                // When it was begun is known from now on.
                if spec::deadline(&self.pod) != spec::deadline(&pod) {
                    self.look.notify_one();
                }
                Ok(())
            }
            // It has gone: the mirror will say so.
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether this is news that soon comes with more. `since`: it is kept back since then.
    fn keeps_back(&self, wanted: &PodStatus, since: Instant) -> bool {
        let is_bringing_up =
            self.memory.busy.iter().any(|task| matches!(task, Task::Sandbox | Task::Start(_)));
        is_bringing_up && since.elapsed() < KEPT_BACK && is_coming_up(wanted)
    }

    /// Brings files to what they are made from, as often as that changes.
    fn follow_files(&mut self) {
        if !volumes::are_followed(&self.pod) {
            return;
        }
        let wanted = volumes::wanted(&self.pod);
        let namespace = Some(spec::namespace(&self.pod));
        let maps = wanted
            .config_maps
            .iter()
            .map(|name| Objects::key::<k8s_openapi::api::core::v1::ConfigMap>(namespace, name));
        let secrets = wanted
            .secrets
            .iter()
            .map(|name| Objects::key::<k8s_openapi::api::core::v1::Secret>(namespace, name));
        for key in maps.chain(secrets) {
            let (context, pod) = (self.context.clone(), self.pod.clone());
            let mut follower = Follower::new(self.context.objects.store().clone(), key);
            self.begun.spawn(async move {
                loop {
                    if let News::Changes(_) = follower.next().await
                        && let Err(step) = steps::refresh(&context, &pod.object).await
                    {
                        tracing::debug!(pod = spec::name(&pod.object), "{}", step.message);
                    }
                }
            });
        }
    }
}

fn next(before: Option<Failure>, step: Step) -> Failure {
    let count = before.map_or(1, |before| before.count.saturating_add(1));
    Failure { reason: step.reason, message: step.message, at: clock::now(), count }
}

impl Context {
    /// What the agent before has told of a container that still runs.
    fn known(&self, pod: &Pod, id: &str) -> Probed {
        let id = format!("{}://{id}", self.runtime.name());
        let statuses = pod.status.as_ref().map(|status| {
            status.container_statuses.iter().chain(&status.init_container_statuses).flatten()
        });
        let mut statuses = statuses.into_iter().flatten();
        let found = statuses.find(|status| status.container_id.as_ref() == Some(&id));
        found.map_or_else(Probed::default, |status| Probed {
            has_started: status.started.unwrap_or(false),
            is_ready: status.ready,
            sick: None,
        })
    }
}

/// For the agent's list of what it runs.
pub(in crate::agent) fn is_of(pod: &Pod, node: &str) -> bool {
    spec::spec(pod).and_then(|spec| spec.node_name.as_deref()) == Some(node)
        && !make::pod_ref(pod).uid.is_empty()
}

#[cfg(test)]
mod tests;
