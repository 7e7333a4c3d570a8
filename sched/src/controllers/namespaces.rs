//! A namespace that is deleted takes everything in it along, then goes itself.

use k8s_openapi::api::core::v1::Namespace;

use super::action::{Action, How, Plan, Removal};
use super::model::owners;
use super::world::World;

/// What holds a namespace back until it is empty.
const FINALIZER: &str = "kubernetes";

pub(crate) fn plan(namespace: &Namespace, world: &World) -> Plan {
    let mut plan = Plan::default();
    if !owners::is_deleting(&namespace.metadata) {
        return plan;
    }
    let name = owners::name(&namespace.metadata);
    let mut is_empty = true;
    for (id, entry) in world.contents(name) {
        is_empty = false;
        if !entry.meta.is_deleting {
            let uid = entry.meta.uid.clone();
            plan.push(Action::Delete(Removal { id: id.clone(), uid, how: How::Gracefully }));
        }
    }
    if is_empty {
        let mut after = namespace.clone();
        if let Some(finalizers) = after.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|one| one != FINALIZER);
        }
        if after != *namespace {
            plan.update(after);
        }
    }
    plan
}
