//! The versions of a deployment: their numbers, and how many are kept.

use super::super::action::How;
use super::super::kinds::Object;
use super::super::model::owners;
use super::{Rollout, sets};

/// Old versions kept if the deployment does not say.
const KEPT: i32 = 10;

impl Rollout<'_> {
    pub(super) fn next_revision(&self) -> i64 {
        let all = self.old.iter().chain(&self.new);
        all.map(sets::Set::revision).max().unwrap_or(0) + 1
    }

    /// Writes onto the set of the wanted version what belongs there; one that was left and is
    /// wanted again gets the next number, as an undo.
    pub(super) fn mark(&mut self) {
        let newest_old = self.old.iter().map(sets::Set::revision).max().unwrap_or(0);
        let (wanted, surge, was_scaled) = (self.wanted(), self.room().surge, self.was_scaled());
        let Some(new) = &mut self.new else { return };
        let mut is_again = false;
        if new.revision() <= newest_old {
            is_again = sets::mark_revision(&mut new.after.metadata, newest_old + 1);
        }
        sets::copy_annotations(&self.before.metadata, &mut new.after.metadata);
        if !was_scaled {
            sets::mark_scale(&mut new.after.metadata, wanted, surge);
        }
        if let Some(spec) = &mut new.after.spec {
            spec.min_ready_seconds = self.spec.min_ready_seconds;
        }
        let revision = new.revision().to_string();
        let name = owners::name(&new.before.metadata).to_owned();
        owners::annotate(&mut self.after.metadata, sets::REVISION, &revision);
        if is_again || self.condition("Progressing").is_none() {
            self.started("FoundNewReplicaSet", format!("Found new replica set \"{name}\""));
        }
    }

    /// Deletes versions beyond those that are kept, the oldest first.
    pub(super) fn forget(&mut self) {
        let kept = self.spec.revision_history_limit.unwrap_or(KEPT).max(0);
        let mut empty: Vec<_> = self
            .old
            .iter()
            .filter(|set| {
                let status = set.before.status.as_ref();
                set.replicas() == 0
                    && !set.has_pods
                    && status.is_none_or(|status| status.replicas == 0)
                    && !owners::is_deleting(&set.before.metadata)
            })
            .collect();
        empty.sort_by_key(|set| set.revision());
        let excess = empty.len().saturating_sub(usize::try_from(kept).unwrap_or(0));
        let excess: Vec<Object> =
            empty.into_iter().take(excess).map(|set| set.before.into()).collect();
        for set in &excess {
            self.plan.remove(set, How::Gracefully);
        }
    }
}
