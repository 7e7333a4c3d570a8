//! A rollout that misses its deadline goes back to the last version that was complete.
//!
//! It does so in two steps, so that `kubectl rollout status` sees the failure before the way back
//! begins: first the condition says `ProgressDeadlineExceeded`, then the template is replaced, as
//! `kubectl rollout undo` would.

use super::super::model::owners;
use super::sets::{self, Set};
use super::{Rollout, status};

/// On a deployment: `"false"` leaves a failed rollout as it is.
pub(super) const SETTING: &str = "berth.dev/return-on-deadline";
/// On a deployment that went back: the number of the version that it came from.
pub(super) const RETURNED: &str = "berth.dev/returned-from";

impl Rollout<'_> {
    /// Puts the last good template in the place of one that failed. Says whether it did.
    pub(super) fn retreat(&mut self) -> bool {
        let failed = self
            .condition("Progressing")
            .is_some_and(|condition| condition.reason.as_deref() == Some(status::TIMED_OUT));
        let is_wanted = owners::annotation(&self.before.metadata, SETTING) != Some("false");
        // A condition speaks of the version that it was written for.
        let seen = self.before.status.as_ref().and_then(|status| status.observed_generation);
        let is_current = seen >= self.before.metadata.generation;
        let is_paused = self.spec.paused == Some(true);
        if !failed || !is_wanted || !is_current || is_paused {
            return false;
        }
        // One that was complete once did not fail because of what it is.
        let Some(new) = self.new.as_ref().filter(|new| !new.is_good()) else { return false };
        let good = self.old.iter().filter(|set| set.is_good()).max_by_key(|set| set.revision());
        let Some(template) = good.and_then(template) else { return false };
        let (from, to) = (new.revision(), good.map_or(0, Set::revision));
        if let Some(spec) = &mut self.after.spec {
            spec.template = template;
        }
        owners::annotate(&mut self.after.metadata, RETURNED, &from.to_string());
        let message = format!(
            "Revision {from} was not available within its deadline: going back to revision {to}. \
             Set the annotation {SETTING}=false to keep failed rollouts"
        );
        self.plan.warn(&self.about, "RolloutReturned", message);
        true
    }
}

fn template(set: &Set<'_>) -> Option<k8s_openapi::api::core::v1::PodTemplateSpec> {
    set.before.spec.as_ref()?.template.as_ref().map(sets::without_hash)
}
