//! Binding: the transaction that gives pods a node.
//!
//! It holds only if no pod was written since it was read, the node is as it was, and nobody has
//! bound a pod to the node that the one who decides did not know of. For the last, every binding
//! writes a key of the node ([`notes::allocation`]): if that key is no younger than the
//! revision up to which all pods are known, all that was bound there is known. So any number of
//! schedulers may run at once, and a node never gets more than it has.

use api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use api::etcdserverpb::response_op::Response;
use api::etcdserverpb::{Compare, RequestOp, TxnRequest, TxnResponse};
use bytes::Bytes;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::pod::PodKey;
use crate::kv;
use crate::objects::{Objects, notes};

/// What is known of the node at the moment of the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    /// Its mod revision.
    pub revision: i64,
    /// All that was bound to it up to this revision of the store is known.
    pub known: i64,
}

/// A pod that is to be bound.
#[derive(Clone, Debug)]
pub struct Binding {
    pub key: PodKey,
    /// Its mod revision.
    pub revision: i64,
    /// Its document.
    pub document: Bytes,
    /// What else is written if it is bound: the event that tells of it.
    pub beside: Option<RequestOp>,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// All pods are bound, at this revision.
    Yes(i64),
    /// None is.
    No(Lost),
}

/// Who was faster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The mod revision of the key of bindings to the node; 0: there is none.
    pub allocation: i64,
    /// The mod revision of the node; 0: it is gone.
    pub node: i64,
    /// The mod revisions of the pods, in their order; 0: it is gone.
    pub pods: Vec<i64>,
}

/// The key that every binding to a node writes.
pub fn allocation_key(node: &str) -> Vec<u8> {
    notes::allocation(node).into_bytes()
}

/// The transaction that binds pods to a node, all or none.
///
/// # Errors
/// A document is no pod.
pub fn request(
    target: &Target,
    pods: &[Binding],
    now: &str,
) -> Result<TxnRequest, serde_json::Error> {
    let allocation = allocation_key(&target.name);
    let node = Objects::key::<Node>(None, &target.name);
    let mut compare = vec![
        kv::unchanged_since(node.clone(), target.revision),
        written_before(allocation.clone(), target.known.saturating_add(1)),
    ];
    let names: Vec<String> = pods.iter().map(|pod| pod.key.to_string()).collect();
    let note = json!({"pods": names, "time": now}).to_string();
    let mut success = vec![kv::put(allocation.clone(), note, 0)];
    let mut failure = vec![kv::get(allocation), kv::get(node)];
    for pod in pods {
        let key = Objects::key::<Pod>(Some(&pod.key.namespace), &pod.key.name);
        compare.push(kv::unchanged_since(key.clone(), pod.revision));
        let document = bound(&pod.document, &target.name, now)?;
        success.push(kv::put_keeping_lease(key.clone(), document));
        success.extend(pod.beside.iter().cloned());
        failure.push(kv::get(key));
    }
    Ok(TxnRequest { compare, success, failure })
}

/// What the answer says.
pub fn outcome(answer: &TxnResponse) -> Bound {
    if answer.succeeded {
        return Bound::Yes(answer.header.as_ref().map_or(0, |header| header.revision));
    }
    let mut revisions = answer.responses.iter().map(|response| match &response.response {
        Some(Response::ResponseRange(range)) => range.kvs.first().map_or(0, |kv| kv.mod_revision),
        _ => 0,
    });
    let allocation = revisions.next().unwrap_or(0);
    let node = revisions.next().unwrap_or(0);
    Bound::No(Lost { allocation, node, pods: revisions.collect() })
}

/// Holds if a key was last written before this revision, or never.
fn written_before(key: Vec<u8>, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Less.into(),
        target: CompareTarget::Mod.into(),
        key: key.into(),
        target_union: Some(TargetUnion::ModRevision(revision)),
        ..Compare::default()
    }
}

/// A pod's document with its node, and with the condition that it has one. Everything else stays.
fn bound(document: &[u8], node: &str, now: &str) -> Result<Vec<u8>, serde_json::Error> {
    let mut pod: Value = serde_json::from_slice(document)?;
    pod["spec"]["nodeName"] = node.into();
    if let Some(status) = pod["status"].as_object_mut() {
        status.shift_remove("nominatedNodeName");
    }
    let conditions = &mut pod["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    if let Some(list) = conditions.as_array_mut() {
        list.retain(|condition| condition["type"] != "PodScheduled");
        list.push(json!({
            "type": "PodScheduled", "status": "True",
            "lastProbeTime": null, "lastTransitionTime": now,
        }));
    }
    serde_json::to_vec(&pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_changes_nothing_else() {
        // Proves that fields which nobody here knows stay, that the condition is replaced, and that
        // a document without a status gets one.
        let before = json!({
            "metadata": {"name": "a", "x": 1}, "spec": {"unknown": [1], "containers": []},
            "status": {"nominatedNodeName": "m", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"},
                {"type": "Other", "status": "True"},
            ]},
        });
        let after = bound(before.to_string().as_bytes(), "n", "now").unwrap();
        let after: Value = serde_json::from_slice(&after).unwrap();
        assert_eq!(after["spec"], json!({"unknown": [1], "containers": [], "nodeName": "n"}));
        assert_eq!(after["metadata"], before["metadata"]);
        let scheduled = json!({
            "type": "PodScheduled", "status": "True",
            "lastProbeTime": null, "lastTransitionTime": "now",
        });
        let other = json!({"type": "Other", "status": "True"});
        assert_eq!(after["status"], json!({"conditions": [other, scheduled]}));
        let bare = bound(br#"{"metadata":{},"spec":{}}"#, "n", "now").unwrap();
        let bare: Value = serde_json::from_slice(&bare).unwrap();
        assert_eq!(bare["status"]["conditions"][0]["status"], "True");
        assert!(bound(b"no document", "n", "now").is_err());
    }
}
