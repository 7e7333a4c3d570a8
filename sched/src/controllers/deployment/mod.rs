//! Deployments: one ReplicaSet for each version, and the way from one to the next.
//!
//! A plan looks at everything at once: the deployment, its sets and their pods, all at one
//! revision. It changes what is wanted of the sets and leaves the pods to them.

mod history;
mod proportion;
mod retreat;
mod rolling;
mod sets;
mod status;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use self::sets::{HASH, Set};
use super::action::{Plan, reference};
use super::model::scale::{Round, share};
use super::model::{names, owners, selectors};

/// What is seen.
pub(crate) struct Observed<'a> {
    /// Sets whose controller this is, and sets of the namespace without any.
    pub(crate) sets: &'a [&'a ReplicaSet],
    /// The pods of those sets.
    pub(crate) pods: &'a [&'a Pod],
    /// Whether the namespace has a set of this name.
    pub(crate) is_taken: &'a dyn Fn(&str) -> bool,
    pub(crate) is_namespace_ending: bool,
}

/// A deployment on its way.
struct Rollout<'a> {
    before: &'a Deployment,
    /// As it is to be.
    after: Deployment,
    spec: &'a DeploymentSpec,
    about: ObjectReference,
    new: Option<Set<'a>>,
    /// The oldest first.
    old: Vec<Set<'a>>,
    now: Timestamp,
    plan: Plan,
}

/// How far the number of pods may be off during a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    surge: i32,
    unavailable: i32,
}

pub(crate) fn plan(deployment: &Deployment, seen: &Observed<'_>, now: Timestamp) -> Plan {
    let Some(spec) = &deployment.spec else { return Plan::default() };
    let adopted = adopt(deployment, spec, seen.sets);
    if !adopted.actions.is_empty() {
        return adopted;
    }
    let uid = owners::uid(&deployment.metadata);
    let is_own = |set: &&&ReplicaSet| owners::is_controlled_by(&set.metadata, uid);
    let min_ready_s = spec.min_ready_seconds.unwrap_or(0);
    let own = seen.sets.iter().filter(is_own);
    let own = own.map(|set| Set::new(set, seen.pods, min_ready_s, now)).collect();
    let (new, old) = sets::split(own, &spec.template, &template_hash(deployment, spec));
    let rollout = Rollout {
        before: deployment,
        after: deployment.clone(),
        spec,
        about: reference(deployment),
        new,
        old,
        now,
        plan: Plan::default(),
    };
    rollout.run(seen)
}

/// Takes in sets that fit and have no controller.
fn adopt(deployment: &Deployment, spec: &DeploymentSpec, sets: &[&ReplicaSet]) -> Plan {
    let mut plan = Plan::default();
    if owners::is_deleting(&deployment.metadata) || selectors::is_empty(&spec.selector) {
        return plan;
    }
    let owner = owners::reference("apps/v1", "Deployment", &deployment.metadata);
    for set in sets {
        let labels = selectors::labels(&set.metadata.labels);
        let is_free =
            owners::controller(&set.metadata).is_none() && !owners::is_deleting(&set.metadata);
        if is_free && selectors::matches(&spec.selector, labels) {
            let mut set = (*set).clone();
            set.metadata.owner_references.get_or_insert_default().push(owner.clone());
            plan.update(set);
        }
    }
    plan
}

fn template_hash(deployment: &Deployment, spec: &DeploymentSpec) -> String {
    let status = deployment.status.as_ref();
    let collisions = status.and_then(|status| status.collision_count).unwrap_or(0);
    names::template_hash(&spec.template, collisions)
}

impl Rollout<'_> {
    fn run(mut self, seen: &Observed<'_>) -> Plan {
        let is_paused = self.spec.paused == Some(true);
        let is_ours = !owners::is_deleting(&self.before.metadata)
            && !selectors::is_empty(&self.spec.selector);
        if is_ours && self.retreat() {
            return self.finish();
        }
        if is_ours {
            self.mark();
            if is_paused || self.was_scaled() {
                self.scale_in_proportion();
            } else if self.is_recreate() {
                self.recreate(seen);
            } else {
                self.roll(seen);
            }
        }
        self.report();
        if is_ours && !is_paused && self.is_complete() {
            self.forget();
        }
        self.finish()
    }

    /// Writes what differs from what is seen.
    fn finish(mut self) -> Plan {
        for set in self.new.iter().chain(&self.old) {
            if set.after == *set.before {
                continue;
            }
            let (from, to) = (sets::replicas(set.before), set.replicas());
            if from != to {
                let way = if from < to { "up" } else { "down" };
                let name = owners::name(&set.before.metadata);
                let message = format!("Scaled {way} replica set {name} from {from} to {to}");
                self.plan.tell(&self.about, "ScalingReplicaSet", message);
            }
            self.plan.update(&set.after);
        }
        if self.after != *self.before {
            self.plan.update(self.after);
        }
        self.plan
    }

    fn wanted(&self) -> i32 {
        self.spec.replicas.unwrap_or(1).max(0)
    }

    fn is_recreate(&self) -> bool {
        let strategy = self.spec.strategy.as_ref().and_then(|one| one.type_.as_deref());
        strategy == Some("Recreate")
    }

    fn room(&self) -> Room {
        if self.is_recreate() {
            return Room { surge: 0, unavailable: self.wanted() };
        }
        let rolling = self.spec.strategy.as_ref().and_then(|one| one.rolling_update.as_ref());
        let quarter = |round| (self.wanted() + if round == Round::Up { 3 } else { 0 }) / 4;
        let part =
            |value, round| share(value, self.wanted(), round).unwrap_or_else(|| quarter(round));
        let surge = part(rolling.and_then(|one| one.max_surge.as_ref()), Round::Up);
        let unavailable = part(rolling.and_then(|one| one.max_unavailable.as_ref()), Round::Down);
        // With neither, nothing could ever move.
        let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
        Room { surge, unavailable: unavailable.min(self.wanted()) }
    }

    /// One version after the other, never both.
    fn recreate(&mut self, seen: &Observed<'_>) {
        self.old.iter_mut().for_each(|set| set.scale(0));
        if self.old.iter().any(|set| set.has_pods) {
            return;
        }
        let wanted = self.wanted();
        match &mut self.new {
            Some(new) => new.scale(wanted),
            None => self.begin(wanted, seen),
        }
    }

    fn roll(&mut self, seen: &Observed<'_>) {
        let (wanted, room) = (self.wanted(), self.room());
        let total = self.old.iter().map(Set::replicas).sum::<i32>();
        let Some(new) = &mut self.new else {
            let first = rolling::new_replicas(wanted, room.surge, 0, total);
            return self.begin(first, seen);
        };
        let total = total + new.replicas();
        new.scale(rolling::new_replicas(wanted, room.surge, new.replicas(), total));
        let available = |set: &Set<'_>| rolling::Group {
            replicas: set.replicas(),
            available: set.available.min(set.replicas()),
        };
        // What was asked for in this step is not there yet.
        let group = available(new);
        let old: Vec<_> = self.old.iter().map(available).collect();
        let old = rolling::old_replicas(wanted, room.unavailable, group, &old);
        for (set, replicas) in self.old.iter_mut().zip(old) {
            set.scale(replicas);
        }
    }

    /// Makes the set of a new version.
    fn begin(&mut self, replicas: i32, seen: &Observed<'_>) {
        if seen.is_namespace_ending {
            return;
        }
        let hash = template_hash(self.before, self.spec);
        let name = names::below(owners::name(&self.before.metadata), &hash);
        if (seen.is_taken)(&name) {
            let status = self.after.status.get_or_insert_default();
            *status.collision_count.get_or_insert(0) += 1;
            return;
        }
        let mut set = self.new_set(name.clone(), &hash, replicas);
        let revision = self.next_revision();
        sets::mark_revision(&mut set.metadata, revision);
        sets::mark_scale(&mut set.metadata, self.wanted(), self.room().surge);
        sets::copy_annotations(&self.before.metadata, &mut set.metadata);
        owners::annotate(&mut self.after.metadata, sets::REVISION, &revision.to_string());
        self.started("NewReplicaSetCreated", format!("Created new replica set \"{name}\""));
        self.plan.create(set);
        let message = format!("Scaled up replica set {name} from 0 to {replicas}");
        self.plan.tell(&self.about, "ScalingReplicaSet", message);
    }

    fn new_set(&self, name: String, hash: &str, replicas: i32) -> ReplicaSet {
        let label = || (HASH.to_owned(), hash.to_owned());
        let mut template: PodTemplateSpec = self.spec.template.clone();
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.extend([label()]);
        let labels = labels.clone();
        let mut selector = self.spec.selector.clone();
        selector.match_labels.get_or_insert_default().extend([label()]);
        let owner = owners::reference("apps/v1", "Deployment", &self.before.metadata);
        ReplicaSet {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: self.before.metadata.namespace.clone(),
                labels: Some(labels),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(replicas),
                min_ready_seconds: self.spec.min_ready_seconds,
                selector,
                template: Some(template),
            }),
            status: None,
        }
    }
}
