//! How objects end: at once, or after somebody has cleaned up.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::documents::Document;
use super::kinds::Resource;
use super::limits::{GRACE_S, GRACE_S_MAX};
use super::{Error, ErrorKind, Objects, Result, clock};

/// How often a deletion is tried anew because somebody else was faster.
const TRIES_MAX: u32 = 16;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// How to delete.
#[derive(Clone, Debug, Default)]
pub struct Delete {
    /// Only the object with this uid.
    pub uid: Option<String>,
    /// Only the object as it was at this revision.
    pub revision: Option<i64>,
    /// How long a pod may take to stop, in seconds; `None`: as it says itself. At 0 its key goes at
    /// once: the agent does this when the pod has stopped.
    pub grace_s: Option<i64>,
    pub propagation: Propagation,
}

/// What becomes of the objects that this one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted afterwards.
    #[default]
    Background,
    /// They are deleted first (finalizer `foregroundDeletion`, which the garbage collector takes
    /// off).
    Foreground,
    /// They stay, without this owner (finalizer `orphan`, likewise).
    Orphan,
}

impl Delete {
    /// At once, without grace, and only the object with this uid.
    pub fn now(uid: &str) -> Self {
        Self { uid: Some(uid.to_owned()), grace_s: Some(0), ..Self::default() }
    }
}

impl Objects {
    /// Deletes an object, or marks it (`metadata.deletionTimestamp`) for those who have something
    /// to do first: owners of finalizers, the namespace controller, and for a pod that is bound to
    /// a node the agent there. Returns it as it is now, or was last.
    ///
    /// # Errors
    /// As [`Objects::delete`].
    pub async fn delete_document(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        name: &str,
        delete: &Delete,
    ) -> Result<Document> {
        let mut last = None;
        for _ in 0..TRIES_MAX {
            let Some(found) = self.get_document(resource, namespace, name).await? else {
                let message = format!("{} \"{name}\" not found", resource.qualified());
                return Err(Error::new(ErrorKind::NotFound, message));
            };
            check(&found, delete)?;
            match self.delete_found(resource, &found, delete).await {
                Err(error) if error.kind == ErrorKind::Conflict => last = Some(error),
                outcome => return outcome,
            }
        }
        Err(last.unwrap_or_else(|| Error::new(ErrorKind::Conflict, "the object keeps changing")))
    }

    async fn delete_found(
        &self,
        resource: &Resource,
        found: &Document,
        delete: &Delete,
    ) -> Result<Document> {
        match marked(resource, &found.value, delete, clock::now()) {
            None => self.erase(resource, found).await.map(|()| found.clone()),
            Some(value) if value == found.value => Ok(found.clone()),
            Some(value) => {
                let after = Document { value, revision: found.revision };
                self.update_document(resource, &found.value, after).await
            }
        }
    }
}

fn check(found: &Document, delete: &Delete) -> Result<()> {
    let uid = found.metadata()["uid"].as_str().unwrap_or_default();
    if let Some(wanted) = delete.uid.as_deref().filter(|wanted| *wanted != uid) {
        let message = format!("the UID in the precondition is {wanted}, the object's is {uid}");
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    if let Some(wanted) = delete.revision.filter(|wanted| *wanted != found.revision) {
        let message = format!(
            "the resourceVersion in the precondition is {wanted}, the object's is {}",
            found.revision
        );
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    Ok(())
}

/// The document as it waits for its end; `None`: nothing has to be waited for.
fn marked(resource: &Resource, value: &Value, delete: &Delete, now: Timestamp) -> Option<Value> {
    let mut after = value.clone();
    add_finalizer(&mut after["metadata"], delete.propagation);
    let grace_s = grace_s(resource, value, delete);
    if grace_s == 0 && !is_held(resource, &after) {
        return None;
    }
    let metadata = &mut after["metadata"];
    let left_s = metadata["deletionGracePeriodSeconds"].as_i64();
    let is_marked = metadata["deletionTimestamp"].is_string();
    // A second deletion can only hurry the first one.
    if !is_marked || left_s.is_some_and(|left_s| grace_s < left_s) {
        let end = now + SignedDuration::from_secs(grace_s);
        metadata["deletionTimestamp"] = clock::text(end).into();
        metadata["deletionGracePeriodSeconds"] = grace_s.into();
    }
    if resource.plural == "namespaces" {
        after["status"] = json!({"phase": "Terminating"});
    }
    Some(after)
}

fn add_finalizer(metadata: &mut Value, propagation: Propagation) {
    let finalizer = match propagation {
        Propagation::Background => return,
        Propagation::Foreground => FOREGROUND,
        Propagation::Orphan => ORPHAN,
    };
    if !metadata["finalizers"].is_array() {
        metadata["finalizers"] = json!([]);
    }
    if let Some(list) = metadata["finalizers"].as_array_mut()
        && !list.iter().any(|one| one == finalizer)
    {
        list.push(finalizer.into());
    }
}

/// Only a pod that may be running is given time.
fn grace_s(resource: &Resource, value: &Value, delete: &Delete) -> i64 {
    let phase = value["status"]["phase"].as_str();
    let has_ended = matches!(phase, Some("Succeeded" | "Failed"));
    let is_bound = value["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    if resource.plural != "pods" || !is_bound || has_ended {
        return 0;
    }
    let own = || value["spec"]["terminationGracePeriodSeconds"].as_i64();
    delete.grace_s.or_else(own).unwrap_or(GRACE_S).clamp(0, GRACE_S_MAX)
}

/// Whether somebody has to say that it may go.
fn is_held(resource: &Resource, value: &Value) -> bool {
    let some = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    some(&value["metadata"]["finalizers"])
        || resource.plural == "namespaces" && some(&value["spec"]["finalizers"])
}

/// Whether a change takes off the last thing that held a deleted object back. A pod that is still
/// being stopped is the agent's.
pub(super) fn is_released(resource: &Resource, before: &Value, after: &Value) -> bool {
    let metadata = &after["metadata"];
    metadata["deletionTimestamp"].is_string()
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && is_held(resource, before)
        && !is_held(resource, after)
}
