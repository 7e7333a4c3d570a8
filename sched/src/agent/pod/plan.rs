//! What is to be done next for a pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as Wanted, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::backoff::Backoff;
use super::memory::{Failure, Memory, Task};
use super::spec::{self, Restart};
use crate::agent::runtime::{Container, Sandbox, State, fence};

/// Containers of one name that are kept: the last one, and the one before it for its log.
const KEPT_MAX: usize = 2;
/// How long a new failure is shown as one before it is shown as a pause.
pub(super) const SHOWN: SignedDuration = SignedDuration::from_secs(2);

/// Everything that a plan is made from.
#[derive(Clone, Copy, Debug)]
pub(in crate::agent) struct View<'a> {
    pub(in crate::agent) pod: &'a Pod,
    pub(in crate::agent) sandbox: Option<&'a Sandbox>,
    pub(in crate::agent) memory: &'a Memory,
    pub(in crate::agent) backoff: Backoff,
    pub(in crate::agent) lease: Lease,
    pub(in crate::agent) now: Timestamp,
}

/// Whether the node still has what lets it run pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent) enum Lease {
    Held,
    /// It may be over soon: what others will start must end.
    Fading,
}

/// One thing to do. All of them can be begun at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent) enum Action {
    StartSandbox,
    StopSandbox,
    /// Fetches the image first, if it must.
    Start {
        name: String,
        attempt: u32,
        streak: u32,
    },
    Stop {
        id: String,
        name: String,
        grace: Duration,
        why: Why,
    },
    Remove {
        id: String,
    },
    /// Nothing of it runs and it was deleted: remove what is left, and its key.
    Finish,
}

/// Why a container is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent) enum Why {
    /// The pod was deleted, or is over.
    Over,
    /// A probe says so.
    Sick(String),
    /// The pod names another image now.
    Changed,
    /// The pod's network is gone.
    NoSandbox,
    /// The node may no longer run it.
    NoLease,
}

/// What to do now, and when to look again at the latest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::agent) struct Plan {
    pub(in crate::agent) actions: Vec<Action>,
    pub(in crate::agent) wake_at: Option<Timestamp>,
}

/// Makes the plan.
pub(in crate::agent) fn plan(view: &View<'_>) -> Plan {
    let mut plan = Plan::default();
    view.wake_for_deadline(&mut plan);
    if view.lease == Lease::Fading && spec::is_replaced_elsewhere(view.pod) {
        let grace = SignedDuration::try_from(fence::GRACE).unwrap_or(SignedDuration::ZERO);
        view.stop_all(&mut plan, view.now + grace, &Why::NoLease);
    } else if view.is_ending() {
        view.end(&mut plan);
    } else {
        view.run(&mut plan);
        view.collect_garbage(&mut plan);
    }
    plan
}

impl Plan {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
    }
}

/// How far the containers that come first are.
pub(super) enum Initialized<'a> {
    Yes,
    /// This one is not through; it is to be started or waited for.
    Not(&'a Wanted),
    /// This one failed for good.
    Failed,
}

impl<'a> View<'a> {
    fn containers(&self) -> &'a [Container] {
        self.sandbox.map_or(&[], |sandbox| &sandbox.containers)
    }

    /// The last container of a name.
    pub(super) fn latest(&self, name: &str) -> Option<&'a Container> {
        let own = self.containers().iter().filter(|container| container.name == name);
        own.max_by_key(|container| container.attempt)
    }

    /// The one before it.
    pub(super) fn previous(&self, name: &str) -> Option<&'a Container> {
        let latest = self.latest(name)?;
        let earlier =
            |container: &&Container| container.name == name && container.attempt < latest.attempt;
        self.containers().iter().filter(earlier).max_by_key(|container| container.attempt)
    }

    fn running(&self) -> impl Iterator<Item = &'a Container> {
        let is_running = |container: &&Container| matches!(container.state, State::Running { .. });
        self.containers().iter().filter(is_running)
    }

    /// Whether a container was started since the sandbox is there: an older one says nothing.
    fn is_of_sandbox(&self, container: &Container) -> bool {
        let (State::Running { started_at } | State::Exited { started_at, .. }) = container.state;
        self.sandbox.is_some_and(|sandbox| started_at >= sandbox.created_at)
    }

    pub(super) fn initialized(&self) -> Initialized<'a> {
        let has_begun = |main: &Wanted| {
            self.latest(&main.name).is_some_and(|container| self.is_of_sandbox(container))
        };
        if spec::mains(self.pod).iter().any(has_begun) {
            return Initialized::Yes;
        }
        for wanted in spec::inits(self.pod) {
            let latest = self.latest(&wanted.name).filter(|latest| self.is_of_sandbox(latest));
            match latest.map(|latest| (&latest.state, latest)) {
                Some((State::Running { .. }, latest)) if spec::is_sidecar(wanted) => {
                    if !self.has_started(wanted, latest) {
                        return Initialized::Not(wanted);
                    }
                }
                Some((State::Exited { code: 0, .. }, _)) if !spec::is_sidecar(wanted) => {}
                Some((State::Exited { .. }, _))
                    if !spec::is_sidecar(wanted) && Restart::of(self.pod) == Restart::Never =>
                {
                    return Initialized::Failed;
                }
                _ => return Initialized::Not(wanted),
            }
        }
        Initialized::Yes
    }

    pub(super) fn has_started(&self, wanted: &Wanted, container: &Container) -> bool {
        let found = self.memory.probed.get(&container.id);
        wanted.startup_probe.is_none() || found.is_some_and(|found| found.has_started)
    }

    pub(super) fn is_ready(&self, wanted: &Wanted, container: &Container) -> bool {
        let found = self.memory.probed.get(&container.id);
        self.has_started(wanted, container)
            && (wanted.readiness_probe.is_none() || found.is_some_and(|found| found.is_ready))
    }

    pub(super) fn is_past_deadline(&self) -> bool {
        spec::deadline(self.pod).is_some_and(|deadline| self.now >= deadline)
    }

    fn wake_for_deadline(&self, plan: &mut Plan) {
        if let Some(deadline) = spec::deadline(self.pod).filter(|deadline| *deadline > self.now) {
            plan.wake(deadline);
        }
    }

    /// Whether nothing of it is to run any more.
    fn is_ending(&self) -> bool {
        spec::deleted(self.pod).is_some() || self.is_over()
    }

    /// Whether it has run its course.
    pub(super) fn is_over(&self) -> bool {
        spec::final_phase(self.pod).is_some()
            || self.is_past_deadline()
            || matches!(self.initialized(), Initialized::Failed)
            || self.have_mains_ended()
    }

    /// Whether all main containers have ended, and none is to be started again.
    pub(super) fn have_mains_ended(&self) -> bool {
        let restart = Restart::of(self.pod);
        let has_ended = |main: &Wanted| {
            self.latest(&main.name).is_some_and(|latest| match latest.state {
                State::Exited { code, .. } => !restart.wants(code),
                State::Running { .. } => false,
            })
        };
        let mains = spec::mains(self.pod);
        !mains.is_empty() && mains.iter().all(has_ended)
    }

    /// Ends everything, in order, and then the pod itself if it was deleted.
    fn end(&self, plan: &mut Plan) {
        // A start that is under way is let happen: its container is stopped then.
        let by = spec::deleted(self.pod).unwrap_or(self.now + spec::grace(self.pod));
        let is_main = |container: &Container| !self.is_sidecar(container);
        if self.running().any(is_main) {
            for container in self.running().filter(|container| is_main(container)) {
                self.stop(plan, container, by, &Why::Over);
            }
            return;
        }
        self.stop_all(plan, by, &Why::Over);
        let is_quiet = self.running().next().is_none() && self.memory.busy.is_empty();
        if !is_quiet {
            return;
        }
        if spec::deleted(self.pod).is_some() {
            plan.actions.push(Action::Finish);
        } else if self.sandbox.is_some_and(|sandbox| sandbox.is_ready) {
            plan.actions.push(Action::StopSandbox);
        }
    }

    fn is_sidecar(&self, container: &Container) -> bool {
        spec::container(self.pod, &container.name).is_some_and(spec::is_sidecar)
    }

    fn stop_all(&self, plan: &mut Plan, by: Timestamp, why: &Why) {
        for container in self.running() {
            self.stop(plan, container, by, why);
        }
    }

    /// Stops a container, unless it is being stopped by then already.
    fn stop(&self, plan: &mut Plan, container: &Container, by: Timestamp, why: &Why) {
        let earlier = SignedDuration::from_secs(1);
        if self.memory.stopping.get(&container.id).is_some_and(|before| *before <= by + earlier) {
            return;
        }
        let left = by.duration_since(self.now).max(SignedDuration::ZERO);
        plan.actions.push(Action::Stop {
            id: container.id.clone(),
            name: container.name.clone(),
            grace: left.unsigned_abs(),
            why: why.clone(),
        });
    }

    /// Brings it up, and keeps it so.
    fn run(&self, plan: &mut Plan) {
        let Some(_sandbox) = self.sandbox.filter(|sandbox| sandbox.is_ready) else {
            return self.run_sandbox(plan);
        };
        self.mind(plan);
        match self.initialized() {
            Initialized::Not(wanted) => {
                // Sidecars before it go on meanwhile.
                let before = spec::inits(self.pod).iter().take_while(|one| one.name != wanted.name);
                for sidecar in before.filter(|one| spec::is_sidecar(one)) {
                    self.keep(plan, sidecar);
                }
                self.keep(plan, wanted);
            }
            Initialized::Yes => {
                for sidecar in spec::inits(self.pod).iter().filter(|one| spec::is_sidecar(one)) {
                    self.keep(plan, sidecar);
                }
                for main in spec::mains(self.pod) {
                    self.keep(plan, main);
                }
            }
            Initialized::Failed => {}
        }
    }

    fn run_sandbox(&self, plan: &mut Plan) {
        if self.running().next().is_some() {
            let by = self.now + spec::grace(self.pod);
            return self.stop_all(plan, by, &Why::NoSandbox);
        }
        let waits = self.memory.sandbox_failure.as_ref();
        if self.lease == Lease::Held
            && !self.memory.busy.contains(&Task::Sandbox)
            && self.is_due(plan, waits)
        {
            plan.actions.push(Action::StartSandbox);
        }
    }

    /// Whether what has failed may be tried again.
    fn is_due(&self, plan: &mut Plan, failure: Option<&Failure>) -> bool {
        let Some(failure) = failure else { return true };
        let at = failure.at + self.backoff.failure(failure.count);
        if at > self.now {
            plan.wake(at);
            let shown = failure.at + SHOWN;
            if shown > self.now {
                plan.wake(shown);
            }
        }
        at <= self.now
    }

    /// Stops what must not go on as it is.
    fn mind(&self, plan: &mut Plan) {
        for container in self.running() {
            let Some(wanted) = spec::container(self.pod, &container.name) else { continue };
            let sick = self.memory.probed.get(&container.id).and_then(|found| found.sick.clone());
            let why = match sick {
                Some(reason) => Why::Sick(reason),
                None if wanted.image.as_ref() != Some(&container.image) => Why::Changed,
                None => continue,
            };
            self.stop(plan, container, self.now + spec::grace(self.pod), &why);
        }
    }

    /// Starts a container if it is to run and does not.
    fn keep(&self, plan: &mut Plan, wanted: &Wanted) {
        let is_busy = self.memory.busy.contains(&Task::Start(wanted.name.clone()));
        if is_busy || self.lease != Lease::Held {
            return;
        }
        let Some((attempt, streak, at)) = self.next_start(wanted) else { return };
        if at > self.now {
            return plan.wake(at);
        }
        if self.is_due(plan, self.memory.failures.get(&wanted.name)) {
            plan.actions.push(Action::Start { name: wanted.name.clone(), attempt, streak });
        }
    }

    /// Its next attempt, the failures in a row before it, and when; `None`: it runs, or is not to.
    pub(super) fn next_start(&self, wanted: &Wanted) -> Option<(u32, u32, Timestamp)> {
        let Some(latest) = self.latest(&wanted.name) else { return Some((0, 0, self.now)) };
        let State::Exited { code, started_at, finished_at, .. } = latest.state else { return None };
        let attempt = latest.attempt.saturating_add(1);
        let is_init = !spec::is_main(self.pod, &wanted.name) && !spec::is_sidecar(wanted);
        if is_init && !self.is_of_sandbox(latest) {
            return Some((attempt, 0, self.now));
        }
        let restart = match Restart::of(self.pod) {
            _ if spec::is_sidecar(wanted) => Restart::Always,
            Restart::Always if is_init => Restart::OnFailure,
            restart => restart,
        };
        if !restart.wants(code) {
            return None;
        }
        let streak = self.backoff.streak(latest.streak, started_at, finished_at);
        Some((attempt, streak, finished_at + self.backoff.restart(streak)))
    }

    /// Removes containers that nobody looks at any more.
    fn collect_garbage(&self, plan: &mut Plan) {
        for wanted in spec::inits(self.pod).iter().chain(spec::mains(self.pod)) {
            let own = self.containers().iter().filter(|container| container.name == wanted.name);
            let mut ended: Vec<&Container> =
                own.filter(|one| matches!(one.state, State::Exited { .. })).collect();
            ended.sort_by_key(|container| std::cmp::Reverse(container.attempt));
            let old = ended.into_iter().skip(KEPT_MAX).map(|container| container.id.clone());
            let is_idle = |id: &String| !self.memory.busy.contains(&Task::Remove(id.clone()));
            plan.actions.extend(old.filter(is_idle).map(|id| Action::Remove { id }));
        }
    }
}
