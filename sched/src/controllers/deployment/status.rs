//! What a deployment says of itself: counts, and the conditions that `kubectl rollout status`
//! reads.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::model::owners;
use super::Rollout;
use super::sets::{self, Set};

/// The reason of a rollout that did not go on in time.
pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const COMPLETE: &str = "NewReplicaSetAvailable";
const UPDATED: &str = "ReplicaSetUpdated";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";
/// Seconds a rollout may stand still if the deployment does not say.
const DEADLINE_S: i32 = 600;

impl Rollout<'_> {
    /// As it was seen or has been set since.
    pub(super) fn condition(&self, kind: &str) -> Option<&DeploymentCondition> {
        let conditions = self.after.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == kind)
    }

    /// The clock of the deadline starts anew.
    pub(super) fn started(&mut self, reason: &str, message: String) {
        self.set("Progressing", "True", reason, message);
    }

    fn set(&mut self, kind: &str, is: &str, reason: &str, message: String) {
        let since = self.condition(kind).filter(|known| known.status == is);
        let since = since.and_then(|known| known.last_transition_time.clone());
        let condition = DeploymentCondition {
            type_: kind.to_owned(),
            status: is.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_update_time: Some(Time(self.now)),
            last_transition_time: since.or(Some(Time(self.now))),
        };
        let conditions =
            self.after.status.get_or_insert_default().conditions.get_or_insert_default();
        match conditions.iter_mut().find(|known| known.type_ == kind) {
            Some(known) => *known = condition,
            None => conditions.push(condition),
        }
    }

    /// The same, unless it says so already.
    fn set_once(&mut self, kind: &str, is: &str, reason: &str, message: String) {
        let says = self.condition(kind);
        let says =
            says.is_some_and(|one| one.status == is && one.reason.as_deref() == Some(reason));
        if !says {
            self.set(kind, is, reason, message);
        }
    }

    pub(super) fn report(&mut self) {
        let before = self.before.status.clone().unwrap_or_default();
        let counts = self.counts();
        self.report_available(&counts);
        self.report_progress(&before, &counts);
        let generation = self.before.metadata.generation;
        let status = self.after.status.get_or_insert_default();
        status.observed_generation = generation;
        status.replicas = counts.replicas;
        status.updated_replicas = counts.updated_replicas;
        status.ready_replicas = counts.ready_replicas;
        status.available_replicas = counts.available_replicas;
        status.unavailable_replicas = counts.unavailable_replicas;
        for set in self.new.iter().chain(&self.old) {
            if let Some(at) = set.next_available {
                self.plan.look_at(at);
            }
        }
    }

    fn counts(&self) -> DeploymentStatus {
        let all = || self.new.iter().chain(&self.old);
        let available: i32 = all().map(|set| set.available).sum();
        let replicas: i32 = all().map(|set| set.active).sum();
        // Kubernetes writes no zeros here.
        let some = |count: i32| (count != 0).then_some(count);
        DeploymentStatus {
            replicas: some(replicas),
            updated_replicas: some(self.new.as_ref().map_or(0, |new| new.active)),
            ready_replicas: some(all().map(|set| set.ready).sum()),
            available_replicas: some(available),
            unavailable_replicas: some((self.wanted().max(replicas) - available).max(0)),
            ..DeploymentStatus::default()
        }
    }

    fn report_available(&mut self, counts: &DeploymentStatus) {
        let enough = self.wanted() - self.room().unavailable;
        if counts.available_replicas.unwrap_or(0) >= enough {
            let message = "Deployment has minimum availability.".to_owned();
            self.set_once("Available", "True", "MinimumReplicasAvailable", message);
        } else {
            let message = "Deployment does not have minimum availability.".to_owned();
            self.set_once("Available", "False", "MinimumReplicasUnavailable", message);
        }
    }

    /// All that was asked for runs, and nothing else.
    pub(super) fn is_complete(&self) -> bool {
        let wanted = self.wanted();
        let is_idle = |set: &Set<'_>| set.active == 0 && set.replicas() == 0;
        self.old.iter().all(is_idle)
            && self.new.as_ref().is_some_and(|new| {
                new.replicas() == wanted && new.active == wanted && new.available >= wanted
            })
    }

    fn report_progress(&mut self, before: &DeploymentStatus, counts: &DeploymentStatus) {
        let reason = self.condition("Progressing").and_then(|one| one.reason.clone());
        let reason = reason.as_deref().unwrap_or_default();
        if self.spec.paused == Some(true) {
            let message = "Deployment is paused".to_owned();
            return self.set_once("Progressing", "Unknown", PAUSED, message);
        }
        if reason == PAUSED {
            return self.set("Progressing", "Unknown", RESUMED, "Deployment is resumed".to_owned());
        }
        let Some(new) = &self.new else { return };
        let name = owners::name(&new.before.metadata).to_owned();
        if self.is_complete() {
            if let Some(new) = &mut self.new {
                owners::annotate(&mut new.after.metadata, sets::GOOD, "true");
            }
            let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
            return self.set_once("Progressing", "True", COMPLETE, message);
        }
        // Once complete, a pod that fails later is no failed rollout.
        let is_rollout = reason != COMPLETE || counts.replicas != counts.updated_replicas;
        if !is_rollout {
            return;
        }
        if has_progressed(before, counts) || reason == COMPLETE {
            let message = format!("ReplicaSet \"{name}\" is progressing.");
            return self.set("Progressing", "True", UPDATED, message);
        }
        match self.deadline() {
            Some(at) if at <= self.now => {
                let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
                self.set_once("Progressing", "False", TIMED_OUT, message);
            }
            Some(at) => self.plan.look_at(at),
            None => {}
        }
    }

    /// When the rollout will have stood still for too long.
    fn deadline(&self) -> Option<Timestamp> {
        let condition = self.condition("Progressing")?;
        if condition.reason.as_deref() == Some(TIMED_OUT) {
            return Some(self.now);
        }
        let seconds = self.spec.progress_deadline_seconds.unwrap_or(DEADLINE_S);
        // Kubernetes' way to say "never".
        if seconds == i32::MAX {
            return None;
        }
        let since = condition.last_update_time.as_ref()?.0;
        since.checked_add(SignedDuration::from_secs(seconds.into())).ok()
    }
}

fn has_progressed(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(now.updated_replicas) > count(before.updated_replicas)
        || old(now) < old(before)
        || count(now.ready_replicas) > count(before.ready_replicas)
        || count(now.available_replicas) > count(before.available_replicas)
}
