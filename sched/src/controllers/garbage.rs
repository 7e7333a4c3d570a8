//! What becomes of objects whose owners go: they go too (background), go first (foreground), or
//! stay without them (orphan).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::action::{Action, How, Plan, Removal, Strip};
use super::id::Id;
use super::routes::NODE_LEASES;
use super::world::{Entry, World};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

pub(crate) fn plan(id: &Id, world: &World) -> Plan {
    let mut plan = Plan::default();
    let Some(entry) = world.entry(id) else { return plan };
    if entry.meta.is_deleting {
        let has = |finalizer: &str| entry.meta.finalizers.iter().any(|one| one == finalizer);
        if has(ORPHAN) {
            orphan(id, entry, world, &mut plan);
        } else if has(FOREGROUND) {
            dependents_first(id, entry, world, &mut plan);
        }
        return plan;
    }
    // A node that registers anew is another object, and it is its lease that says that it lives.
    if id.resource == "leases" && id.namespace == NODE_LEASES {
        return plan;
    }
    follow_owners(id, entry, world, &mut plan);
    plan
}

/// Deletes what none of its owners is left of. References to owners that are gone are taken off
/// what others still own.
fn follow_owners(id: &Id, entry: &Entry, world: &World, plan: &mut Plan) {
    let is_there = |owner: &OwnerReference| {
        world.by_uid(&owner.uid).is_some() || world.is_unreadable(owner, &id.namespace)
    };
    let gone: Vec<String> = entry
        .meta
        .owners
        .iter()
        .filter(|owner| !is_there(owner))
        .map(|owner| owner.uid.clone())
        .collect();
    if gone.is_empty() {
        return;
    }
    if gone.len() == entry.meta.owners.len() {
        plan.push(remove(id, entry, How::Gracefully));
    } else {
        plan.push(strip(id, entry, None, gone));
    }
}

fn dependents_first(id: &Id, entry: &Entry, world: &World, plan: &mut Plan) {
    let uid = &entry.meta.uid;
    let blocks = |dependent: &Entry| {
        let mut references = dependent.meta.owners.iter();
        references.any(|owner| owner.uid == *uid && owner.block_owner_deletion == Some(true))
    };
    let waits_for = world.dependents(uid).filter(|(_, dependent)| blocks(dependent)).count();
    if waits_for == 0 {
        plan.push(strip(id, entry, Some(FOREGROUND), Vec::new()));
        return;
    }
    for (id, dependent) in world.dependents(uid) {
        let is_shared = dependent.meta.owners.iter().any(|owner| {
            let other = world.by_uid(&owner.uid).and_then(|id| world.entry(id));
            owner.uid != *uid && other.is_some_and(|other| !other.meta.is_deleting)
        });
        if is_shared {
            plan.push(strip(id, dependent, None, vec![uid.clone()]));
        } else if !dependent.meta.is_deleting {
            plan.push(remove(id, dependent, How::Foreground));
        }
    }
}

fn orphan(id: &Id, entry: &Entry, world: &World, plan: &mut Plan) {
    let uid = &entry.meta.uid;
    let mut left = 0;
    for (id, dependent) in world.dependents(uid) {
        plan.push(strip(id, dependent, None, vec![uid.clone()]));
        left += 1;
    }
    if left == 0 {
        plan.push(strip(id, entry, Some(ORPHAN), Vec::new()));
    }
}

fn remove(id: &Id, entry: &Entry, how: How) -> Action {
    Action::Delete(Removal { id: id.clone(), uid: entry.meta.uid.clone(), how })
}

fn strip(id: &Id, entry: &Entry, finalizer: Option<&str>, owners: Vec<String>) -> Action {
    Action::Strip(Strip {
        id: id.clone(),
        revision: entry.meta.revision,
        finalizer: finalizer.map(str::to_owned),
        owners,
    })
}

#[cfg(test)]
mod tests {
    use api::mvccpb::KeyValue;
    use serde_json::json;

    use super::*;
    use crate::kv::follow::Change;

    fn put(kind: &str, name: &str, owners: &[&str], more: &serde_json::Value) -> Change {
        let owners: Vec<_> = owners
            .iter()
            .map(|uid| {
                json!({"apiVersion": "v1", "kind": "X", "name": "x", "uid": uid,
                       "blockOwnerDeletion": true})
            })
            .collect();
        let mut meta = json!({"name": name, "namespace": "shop", "uid": format!("uid-{name}"),
                              "ownerReferences": owners});
        for (key, value) in more.as_object().unwrap() {
            meta[key] = value.clone();
        }
        Change::Put(KeyValue {
            key: format!("/registry/{kind}/shop/{name}").into(),
            value: json!({"metadata": meta}).to_string().into(),
            mod_revision: 5,
            ..KeyValue::default()
        })
    }

    fn planned(changes: Vec<Change>, name: &str) -> Vec<Action> {
        let mut world = World::default();
        world.apply(changes, 5);
        plan(&Id::new("configmaps", "shop", name), &world).actions
    }

    fn deleting(finalizer: &str) -> serde_json::Value {
        json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [finalizer]})
    }

    #[test]
    fn what_has_no_owner_left_goes() {
        // Proves that one owner that is there keeps an object, and that the others are taken off.
        let none = json!({});
        let alone = planned(vec![put("configmaps", "a", &["gone"], &none)], "a");
        assert!(matches!(&alone[..], [Action::Delete(removal)] if removal.uid == "uid-a"));
        let owner = || put("configmaps", "b", &[], &none);
        let kept = planned(vec![owner(), put("configmaps", "a", &["gone", "uid-b"], &none)], "a");
        assert!(matches!(&kept[..], [Action::Strip(strip)] if strip.owners == ["gone"]));
        let whole = planned(vec![owner(), put("configmaps", "a", &["uid-b"], &none)], "a");
        assert!(whole.is_empty());
    }

    #[test]
    fn an_owner_that_cannot_be_read_is_not_gone() {
        // Proves that nothing is deleted because its owner's document is damaged, and that it is
        // looked at again once the damaged one is gone.
        let damaged = KeyValue {
            key: "/registry/deployments/shop/x".into(),
            value: "no object".into(),
            mod_revision: 5,
            ..KeyValue::default()
        };
        let mut world = World::default();
        let owned = put("configmaps", "a", &["uid-x"], &json!({}));
        world.apply(vec![Change::Put(damaged.clone()), owned], 5);
        let id = Id::new("configmaps", "shop", "a");
        assert!(plan(&id, &world).actions.is_empty());
        let touched = world.apply(vec![Change::Delete(damaged.key)], 6);
        assert!(touched.iter().any(|touched| touched.id == id));
        assert!(matches!(&plan(&id, &world).actions[..], [Action::Delete(_)]));
    }

    #[test]
    fn foreground_waits_for_dependents_and_orphan_lets_them_go() {
        // Proves both finalizers: first the dependents, then the mark.
        let none = json!({});
        let with = |finalizer: &str| {
            let owner = put("configmaps", "a", &[], &deleting(finalizer));
            planned(vec![owner, put("pods2", "p", &["uid-a"], &none)], "a")
        };
        assert!(
            matches!(&with(FOREGROUND)[..], [Action::Delete(removal)] if removal.id.name == "p")
        );
        assert!(matches!(&with(ORPHAN)[..], [Action::Strip(strip)] if strip.owners == ["uid-a"]));
        for finalizer in [FOREGROUND, ORPHAN] {
            let alone = planned(vec![put("configmaps", "a", &[], &deleting(finalizer))], "a");
            assert!(matches!(&alone[..], [Action::Strip(strip)]
                    if strip.finalizer.as_deref() == Some(finalizer)));
        }
    }
}
