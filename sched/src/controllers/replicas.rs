//! As many pods as were asked for: ReplicaSets and ReplicationControllers.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    ObjectReference, Pod, PodTemplateSpec, ReplicationController, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use super::action::{Plan, reference};
use super::model::names::Fresh;
use super::model::{owners, pods, selectors};

/// Pods made or deleted in one go; the rest follows when those are seen.
const BURST_MAX: usize = 500;
/// Failed pods that are kept to be looked at.
const FAILED_KEPT: usize = 5;
/// The first pause after a pod that failed as a whole; it doubles with each such pod that is kept.
const FAILED_PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// What is seen.
pub(crate) struct Observed<'a> {
    /// Pods whose controller this is, and pods of the namespace without any.
    pub(crate) pods: &'a [&'a Pod],
    /// The revision of the view.
    pub(crate) revision: i64,
    /// Whether the namespace has a pod of this name.
    pub(crate) is_taken: &'a dyn Fn(&str) -> bool,
    /// Nothing may be made in a namespace that is being deleted.
    pub(crate) is_namespace_ending: bool,
}

/// What a ReplicaSet and a ReplicationController have in common.
struct Wanted<'a> {
    about: ObjectReference,
    meta: &'a ObjectMeta,
    owner: OwnerReference,
    selector: LabelSelector,
    template: Option<&'a PodTemplateSpec>,
    replicas: usize,
    min_ready_s: i32,
}

/// What is counted in both.
#[derive(Debug, PartialEq)]
struct Counts {
    replicas: i32,
    labeled: i32,
    ready: i32,
    available: i32,
}

pub(crate) fn plan_replica_set(set: &ReplicaSet, seen: &Observed<'_>, now: Timestamp) -> Plan {
    let Some(spec) = &set.spec else { return Plan::default() };
    let wanted = Wanted {
        about: reference(set),
        meta: &set.metadata,
        owner: owners::reference("apps/v1", "ReplicaSet", &set.metadata),
        selector: spec.selector.clone(),
        template: spec.template.as_ref(),
        replicas: usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0),
        min_ready_s: spec.min_ready_seconds.unwrap_or(0),
    };
    let (mut plan, counts) = wanted.plan(seen, now);
    let before = set.status.clone().unwrap_or_default();
    let status = ReplicaSetStatus {
        replicas: counts.replicas,
        fully_labeled_replicas: Some(counts.labeled),
        ready_replicas: Some(counts.ready),
        available_replicas: Some(counts.available),
        observed_generation: set.metadata.generation,
        ..before.clone()
    };
    if status != before {
        plan.update(ReplicaSet { status: Some(status), ..set.clone() });
    }
    plan
}

pub(crate) fn plan_replication_controller(
    set: &ReplicationController,
    seen: &Observed<'_>,
    now: Timestamp,
) -> Plan {
    let Some(spec) = &set.spec else { return Plan::default() };
    let labels = || spec.template.as_ref()?.metadata.as_ref()?.labels.clone();
    let wanted = Wanted {
        about: reference(set),
        meta: &set.metadata,
        owner: owners::reference("v1", "ReplicationController", &set.metadata),
        selector: LabelSelector {
            match_labels: spec.selector.clone().or_else(labels),
            match_expressions: None,
        },
        template: spec.template.as_ref(),
        replicas: usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0),
        min_ready_s: spec.min_ready_seconds.unwrap_or(0),
    };
    let (mut plan, counts) = wanted.plan(seen, now);
    let before = set.status.clone().unwrap_or_default();
    let status = ReplicationControllerStatus {
        replicas: counts.replicas,
        fully_labeled_replicas: Some(counts.labeled),
        ready_replicas: Some(counts.ready),
        available_replicas: Some(counts.available),
        observed_generation: set.metadata.generation,
        ..before.clone()
    };
    if status != before {
        plan.update(ReplicationController { status: Some(status), ..set.clone() });
    }
    plan
}

impl Wanted<'_> {
    fn plan(&self, seen: &Observed<'_>, now: Timestamp) -> (Plan, Counts) {
        let mut plan = Plan::default();
        let uid = owners::uid(self.meta);
        let fits =
            |pod: &Pod| selectors::matches(&self.selector, selectors::labels(&pod.metadata.labels));
        let is_own = |pod: &Pod| owners::is_controlled_by(&pod.metadata, uid);
        let mut own: Vec<&Pod> =
            seen.pods.iter().copied().filter(|pod| is_own(pod) && fits(pod)).collect();
        if !owners::is_deleting(self.meta) && !selectors::is_empty(&self.selector) {
            let leaving = seen.pods.iter().filter(|pod| is_own(pod) && !fits(pod));
            leaving.for_each(|pod| self.release(pod, &mut plan));
            let is_free = |pod: &&&Pod| {
                owners::controller(&pod.metadata).is_none() && pods::is_active(pod) && fits(pod)
            };
            for pod in seen.pods.iter().filter(is_free) {
                self.adopt(pod, &mut plan);
                own.push(pod);
            }
            self.balance(&own, seen, now, &mut plan);
        }
        self.look_when_available(&own, now, &mut plan);
        let counts = self.count(&own, now);
        (plan, counts)
    }

    fn adopt(&self, pod: &Pod, plan: &mut Plan) {
        let mut pod = pod.clone();
        pod.metadata.owner_references.get_or_insert_default().push(self.owner.clone());
        plan.update(pod);
    }

    fn release(&self, pod: &Pod, plan: &mut Plan) {
        let mut pod = pod.clone();
        let references = pod.metadata.owner_references.get_or_insert_default();
        references.retain(|owner| owner.uid != self.owner.uid);
        plan.update(pod);
    }

    fn balance(&self, own: &[&Pod], seen: &Observed<'_>, now: Timestamp, plan: &mut Plan) {
        let active: Vec<&Pod> = own.iter().copied().filter(|pod| pods::is_active(pod)).collect();
        if active.len() > self.replicas {
            let excess = active.len() - self.replicas;
            self.shrink(active, excess.min(BURST_MAX), now, plan);
        } else if active.len() < self.replicas && !seen.is_namespace_ending {
            let missing = (self.replicas - active.len()).min(BURST_MAX);
            match self.held_until(own).filter(|until| *until > now) {
                Some(until) => plan.look_at(until),
                None => self.grow(missing, seen, plan),
            }
        }
        self.forget_failed(own, plan);
    }

    fn grow(&self, missing: usize, seen: &Observed<'_>, plan: &mut Plan) {
        let Some(template) = self.template else { return };
        let base = owners::name(self.meta);
        let fresh = Fresh { base, uid: owners::uid(self.meta), revision: seen.revision };
        for name in fresh.names(seen.is_taken).take(missing) {
            let message = format!("Created pod: {name}");
            let namespace = owners::namespace(self.meta);
            plan.create(pods::from_template(template, namespace, name, self.owner.clone()));
            plan.tell(&self.about, "SuccessfulCreate", message);
        }
    }

    fn shrink(&self, mut active: Vec<&Pod>, excess: usize, now: Timestamp, plan: &mut Plan) {
        active.sort_by_cached_key(|pod| keep_rank(pod, self.min_ready_s, now));
        for pod in active.into_iter().take(excess) {
            plan.delete(pod);
            let message = format!("Deleted pod: {}", owners::name(&pod.metadata));
            plan.tell(&self.about, "SuccessfulDelete", message);
        }
    }

    /// A pod that fails as a whole is refused by its node, or thrown out: its successor may meet
    /// the same at once, so each one waits longer.
    fn held_until(&self, own: &[&Pod]) -> Option<Timestamp> {
        let failed = own.iter().filter(|pod| pods::has_failed(pod));
        let times: Vec<Timestamp> = failed.map(|pod| pods::finished_at(pod)).collect();
        let doublings = u32::try_from(times.len().checked_sub(1)?).unwrap_or(0).min(6);
        let pause = FAILED_PAUSE.checked_mul(1 << doublings)?;
        times.into_iter().max()?.checked_add(pause).ok()
    }

    fn forget_failed(&self, own: &[&Pod], plan: &mut Plan) {
        let mut failed: Vec<_> = own
            .iter()
            .filter(|pod| pods::has_failed(pod) && !owners::is_deleting(&pod.metadata))
            .collect();
        failed.sort_by_cached_key(|pod| (Reverse(pods::created(pod)), pod.metadata.name.clone()));
        failed.iter().skip(FAILED_KEPT).for_each(|pod| plan.delete(**pod));
    }

    fn count(&self, own: &[&Pod], now: Timestamp) -> Counts {
        let own = own.iter().filter(|pod| pods::is_active(pod));
        let count = |test: &dyn Fn(&Pod) -> bool| {
            i32::try_from(own.clone().filter(|pod| test(pod)).count()).unwrap_or(i32::MAX)
        };
        let template = self.template.and_then(|template| template.metadata.as_ref());
        let wanted = template.map(|meta| selectors::labels(&meta.labels));
        Counts {
            replicas: count(&|_| true),
            labeled: count(&|pod| {
                let labels = selectors::labels(&pod.metadata.labels);
                wanted.is_none_or(|wanted| selectors::has_all(labels, wanted))
            }),
            ready: count(&pods::is_ready),
            available: count(&|pod| pods::is_available(pod, self.min_ready_s, now)),
        }
    }

    /// Nothing but time makes a ready pod available.
    fn look_when_available(&self, own: &[&Pod], now: Timestamp, plan: &mut Plan) {
        if self.min_ready_s <= 0 {
            return;
        }
        let times = own.iter().filter_map(|pod| pods::available_at(pod, self.min_ready_s));
        if let Some(at) = times.filter(|at| *at > now).min() {
            plan.look_at(at);
        }
    }
}

/// What is missed least comes first: not placed, not running, not ready, then the cheap, the
/// youngest and the often restarted.
fn keep_rank(pod: &Pod, min_ready_s: i32, now: Timestamp) -> impl Ord + use<> {
    let phase = match pods::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = owners::annotation(&pod.metadata, "controller.kubernetes.io/pod-deletion-cost");
    (
        pods::node(pod).is_some(),
        phase,
        pods::is_ready(pod),
        pods::is_available(pod, min_ready_s, now),
        cost.and_then(|cost| cost.parse::<i32>().ok()).unwrap_or(0),
        Reverse(pods::available_at(pod, 0)),
        Reverse(pods::restarts(pod)),
        Reverse(pods::created(pod)),
        pod.metadata.name.clone(),
    )
}

#[cfg(test)]
mod tests;
